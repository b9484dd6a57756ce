// The view where a job is made: a command is chosen, its form filled in, the plan seen, and the job started.

import { Offers } from "/static/argument.js";
import { onReturn } from "/static/connection.js";
import { byId, element, setTextOrHide } from "/static/elements.js";
import { title } from "/static/field.js";
import { CommandForm } from "/static/form.js";
import { needsPlan, planNow, planSoon } from "/static/planning.js";
import { ask, turns } from "/static/server.js";
import { focusOn, goTo, isShown, onShow } from "/static/views.js";

const ENDINGS = /(\.ome)?(\.nii|\.tar)?\.[A-Za-z0-9]{1,5}$/;

const turn = turns();
const forms = new Map(); // command -> form, kept with what was typed
let commands = [];
let form = null;

async function show(parameters) {
  await loadCommands();
  if (commands.length === 0) return;
  const { command, ...values } = Object.fromEntries(parameters);
  choose(command ?? form?.command.name ?? commands[0].name);
  if (Object.keys(values).length > 0) {
    form.fill(values);
    suggestDataset();
  }
  if (needsPlan(form)) planSoon(form, 0);
  loadOffers();
}

async function loadCommands() {
  if (commands.length > 0) return;
  try {
    ({ commands } = await ask("/api/commands"));
    byId("commands").querySelector("div").replaceChildren(...commands.map(commandButton));
    setTextOrHide(byId("new-problem"), "");
  } catch (error) {
    setTextOrHide(byId("new-problem"), error.message);
  }
}

function commandButton({ name }) {
  const button = element("input", { type: "radio", name: "command", value: name });
  button.addEventListener("change", () => {
    choose(name);
    loadOffers();
  });
  return element("label", {}, button, element("span", {}, title(name)));
}

/** Offer what is on the server in the fields for it. */
async function loadOffers() {
  const { arguments: fields } = form;
  const isLast = turn();
  try {
    const [{ sources }, { datasets }] = await Promise.all([ask("/api/sources"), ask("/api/datasets")]);
    const offers = new Offers(sources, datasets.filter((one) => !one.error).map((one) => one.name));
    for (const field of fields) field.offer?.(offers);
    if (isLast()) setTextOrHide(byId("new-problem"), "");
  } catch (error) {
    if (isLast()) setTextOrHide(byId("new-problem"), error.message);
  }
}

function choose(name) {
  const command = commands.find((one) => one.name === name) ?? commands[0];
  if (form?.command === command) return;
  if (!forms.has(command.name)) forms.set(command.name, new CommandForm(command));
  form = forms.get(command.name);
  byId("commands").querySelector(`input[value="${CSS.escape(command.name)}"]`).checked = true;
  byId("command-help").textContent = command.help;
  byId("command-form").replaceChildren(form.element);
  setTextOrHide(byId("new-problem"), "");
  planSoon(form, 0);
}

function changed(event) {
  if (event.target.name === "command" || event.target.type === "file") return;
  suggestDataset();
  if (needsPlan(form)) planSoon(form);
}

/** Name the dataset as its source, as long as nobody has named it. */
function suggestDataset() {
  const field = form.field("dataset");
  if (!form.source || !field || (field.value !== null && field.value !== field.suggested)) return;
  const last = form.source.replace(/\/+$/, "").split("/").at(-1);
  field.suggested = last.replace(ENDINGS, "").replaceAll(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[-.]+|[-.]+$/g, "");
  field.value = field.suggested;
}

async function start(event) {
  event.preventDefault();
  form.clearErrors();
  const missing = form.missing();
  if (missing) {
    missing.tell(`Fill in: ${title(missing.name).toLowerCase()}.`);
    missing.focus();
  } else if (needsPlan(form)) {
    await showPlanFirst();
  } else {
    await post();
  }
}

/** What the plan says is to be seen before the job begins: the button starts it the next time. */
async function showPlanFirst() {
  await planNow(form);
  const wrong = form.wrong();
  if (wrong) wrong.focus();
  else focusOn(byId("plan-title"));
}

async function post() {
  byId("start").disabled = true;
  try {
    const members = { command: form.command.name, options: form.values() };
    const job = await ask("/api/jobs", { method: "POST", members });
    forms.delete(form.command.name);
    form = null;
    goTo("jobs", { job: job.id });
  } catch (error) {
    const field = form.tellRefusal(error.message);
    if (field) field.focus();
  } finally {
    byId("start").disabled = false;
  }
}

/** Make the view work. */
export function startMaking() {
  onShow("new", show);
  onReturn(() => { if (isShown("new")) show(new URLSearchParams()); });
  byId("job-form").addEventListener("submit", start);
  byId("job-form").addEventListener("change", changed);
}
