// The view where a job is made: a command is chosen, its form filled in, the plan seen, and the job started.

import { announce } from "/static/announcements.js";
import { Offers } from "/static/argument.js";
import { onReturn } from "/static/connection.js";
import { byId, element, setTextOrHide } from "/static/elements.js";
import { title } from "/static/field.js";
import { CommandForm } from "/static/form.js";
import { planSentence, showInstead, showPlan } from "/static/plan.js";
import { Unreachable, ask } from "/static/server.js";
import { focusOn, goTo, onShow } from "/static/views.js";

const PAUSE = 400; // ms without a change before a plan is asked for
const ENDINGS = /(\.ome)?(\.nii|\.tar)?\.[A-Za-z0-9]{1,5}$/;

const forms = new Map(); // command -> form, kept with what was typed
let commands = [];
let form = null;
let planned = null; // what the plan that is shown was asked with
let asking = null; // AbortController of the plan that is being made
let timer;

async function show(parameters) {
  await loadCommands();
  if (commands.length === 0) return;
  const { command, ...values } = Object.fromEntries(parameters);
  choose(command ?? form?.command.name ?? commands[0].name);
  if (Object.keys(values).length > 0) {
    form.fill(values);
    suggestDataset();
    planSoon(0);
  }
  loadOffers();
}

async function loadCommands() {
  if (commands.length > 0) return;
  try {
    ({ commands } = await ask("/api/commands"));
  } catch (error) {
    tellProblem(error.message);
    return;
  }
  byId("commands").querySelector("div").replaceChildren(...commands.map(commandButton));
}

function commandButton({ name }) {
  const button = element("input", { type: "radio", name: "command", value: name });
  button.addEventListener("change", () => choose(name));
  return element("label", {}, button, element("span", {}, title(name)));
}

async function loadOffers() {
  try {
    const [{ sources }, { datasets }] = await Promise.all([ask("/api/sources"), ask("/api/datasets")]);
    const offers = new Offers(sources, datasets.filter((one) => !one.error).map((one) => one.name));
    for (const field of form.arguments) field.offer?.(offers);
  } catch (error) {
    tellProblem(error.message);
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
  byId("plan-panel").hidden = !command.plan;
  tellProblem("");
  forgetPlan();
  loadOffers();
  planSoon(0);
}

function changed() {
  suggestDataset();
  if (JSON.stringify(form.values()) !== planned) planSoon(PAUSE);
}

/** Name the dataset as its source, as long as nobody has named it. */
function suggestDataset() {
  const field = form.field("dataset");
  if (!form.source || !field || (field.value !== null && field.value !== field.control.dataset.suggested)) return;
  const last = form.source.replace(/\/+$/, "").split("/").at(-1);
  field.value = last.replace(ENDINGS, "").replaceAll(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[-.]+|[-.]+$/g, "");
  field.control.dataset.suggested = field.value ?? "";
}

function forgetPlan() {
  asking?.abort();
  clearTimeout(timer);
  planned = null;
  showInstead(byId("plan"), "Choose a source, and what will be written is told here before anything is.");
  byId("start").textContent = "Start";
}

function planSoon(pause) {
  forgetPlan();
  if (form.command.plan && form.source) timer = setTimeout(() => makePlan(), pause);
}

/** Ask for the plan and show it, or what is wrong. Returns the field that is refused, null for none, and whether there is a plan. */
async function makePlan() {
  const options = form.values();
  asking = new AbortController();
  const { signal } = asking;
  showInstead(byId("plan"), "The source is looked at …");
  byId("plan").setAttribute("aria-busy", "true");
  try {
    const { plan } = await ask("/api/plan", { method: "POST", members: { command: form.command.name, options }, signal });
    tellRefusal("");
    planned = JSON.stringify(options);
    showPlan(byId("plan"), plan);
    announce(`Plan: ${planSentence(plan)}`);
  } catch (error) {
    if (error.name !== "AbortError") tellNoPlan(error, options);
  } finally {
    if (!signal.aborted) byId("plan").removeAttribute("aria-busy");
  }
}

function tellNoPlan(error, options) {
  // No time for a plan is no reason against the job.
  if (error.status === 503) planned = JSON.stringify(options);
  else if (!(error instanceof Unreachable)) tellRefusal(error.message);
  showInstead(byId("plan"), error.status === 503 ? `${error.message} The job can be started without a plan.` : "There is no plan yet.");
  announce(error.message);
}

/** Show a sentence beside the field that it names, above the button when it names none, nothing when it is empty. */
function tellRefusal(sentence) {
  form.clearErrors();
  const field = sentence ? form.refused(sentence) : null;
  field?.tell(sentence);
  tellProblem(field ? "" : sentence);
  return field;
}

function tellProblem(sentence) {
  setTextOrHide(byId("new-problem"), sentence);
}

async function start(event) {
  event.preventDefault();
  if (tellMissing()) return;
  const options = form.values();
  if (form.command.plan && JSON.stringify(options) !== planned) {
    await planFirst();
    return;
  }
  await post(options);
}

function tellMissing() {
  form.clearErrors();
  const field = form.missing();
  field?.tell(`Fill in: ${title(field.name).toLowerCase()}.`);
  field?.focus();
  return field !== null;
}

/** What the plan says is to be seen before the job begins: the button starts it the next time. */
async function planFirst() {
  forgetPlan();
  await makePlan();
  const wrong = form.fields.find((field) => !field.error.hidden);
  if (wrong) wrong.focus();
  else if (planned !== null) focusOn(byId("plan-panel").querySelector("h3"));
}

async function post(options) {
  byId("start").disabled = true;
  try {
    const job = await ask("/api/jobs", { method: "POST", members: { command: form.command.name, options } });
    forms.delete(form.command.name);
    form = null;
    goTo("jobs", { job: job.id });
  } catch (error) {
    const field = tellRefusal(error.message);
    if (field) field.focus();
    else focusOn(byId("new-problem"));
  } finally {
    byId("start").disabled = false;
  }
}

/** Make the view work. */
export function startMaking() {
  onShow("new", show);
  onReturn(() => { if (commands.length === 0) show(new URLSearchParams()); });
  byId("job-form").addEventListener("submit", start);
  byId("job-form").addEventListener("change", (event) => { if (event.target.name !== "command") changed(); });
}
