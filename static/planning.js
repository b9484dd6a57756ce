// The plan beside the form: asked for when nothing has changed for a moment, so that it is seen before the job runs.

import { announce } from "/static/announcements.js";
import { byId, setAttributes, setText } from "/static/elements.js";
import { planSentence, showInstead, showPlan } from "/static/plan.js";
import { Unreachable, ask } from "/static/server.js";

const PAUSE = 400; // ms without a change
const NONE = "Choose what is read, and what will be done is told here before anything is.";

let planned = null; // what the plan that is shown was asked with, as text
let asking = new AbortController();
let timer;

const members = (form) => ({ command: form.command.name, options: form.values() });

/** Tell whether a form has to be planned before its job is started: it can be, and the plan that is shown is not its. */
export const needsPlan = (form) => form.command.plan && JSON.stringify(members(form)) !== planned;

/** Show the plan of a form, if it can have one, in a moment; the one that is there stays so long, for nothing must move. */
export function planSoon(form, pause = PAUSE) {
  forget(form);
  if (!form.command.plan || !form.read) showInstead(byId("plan"), NONE);
  else timer = setTimeout(planNow, pause, form);
}

/** Ask for the plan of a form and show it, or what is wrong beside the field that it is about. */
export async function planNow(form) {
  forget(form);
  const asked = members(form);
  const { signal } = asking;
  setBusy(true);
  try {
    const { plan } = await ask("/api/plan", { method: "POST", members: asked, signal });
    form.tellRefusal("");
    showPlan(byId("plan"), plan);
    setPlanned(asked);
    announce(`Plan: ${planSentence(plan)}`);
  } catch (error) {
    if (error.name !== "AbortError") tellNone(form, error, asked);
  }
  if (!signal.aborted) setBusy(false);
}

function setBusy(busy) {
  setAttributes(byId("plan"), { "aria-busy": busy && "true" });
  setText(byId("plan-state"), busy ? "The source is looked at …" : "");
}

function forget(form) {
  asking.abort();
  asking = new AbortController();
  clearTimeout(timer);
  planned = null;
  byId("plan-panel").hidden = !form.command.plan;
  setBusy(false);
  setText(byId("start"), form.command.plan ? "Show the plan" : "Start");
}

function setPlanned(asked) {
  planned = JSON.stringify(asked);
  setText(byId("start"), "Start");
}

function tellNone(form, error, asked) {
  if (error.status === 503) {
    // No time for a plan is no reason against the job.
    setPlanned(asked);
    showInstead(byId("plan"), `${error.message} The job can be started without a plan.`);
    return;
  }
  showInstead(byId("plan"), error instanceof Unreachable ? error.message : "There is no plan yet.");
  if (!(error instanceof Unreachable) && form.tellRefusal(error.message)) announce(error.message);
}
