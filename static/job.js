// One job on the page: its state, how far it is, and what can be done with it.

import { ago, amount, bytes, duration, grouped } from "/static/amounts.js";
import { announce } from "/static/announcements.js";
import { nameParts } from "/static/card.js";
import { fromTemplate, setAttributes, setText, setTextOrHide } from "/static/elements.js";
import { title } from "/static/field.js";
import { openLog } from "/static/log.js";
import { ask } from "/static/server.js";
import { address, focusOn } from "/static/views.js";

const STATES = {
  queued: "Waiting", running: "Running", interrupted: "Interrupted", done: "Done", failed: "Failed", cancelled: "Cancelled",
};

/** Tell whether a job does nothing any more. */
export const isEnded = ({ state }) => state === "done" || state === "failed" || state === "cancelled";

/** Tell whether a job writes a dataset now that the viewer can have open meanwhile. */
const isWritten = ({ state, command, step }) => state === "running" && command === "convert" && step !== null;

const isRetryable = ({ state }) => state === "failed" || state === "cancelled";

/** Return what a job is about, such as `Convert brain`. */
const jobTitle = (job) => `${title(job.command)} ${target(job)}`;

const target = ({ dataset, options }) => dataset ?? options.dataset ?? options.source ?? "";

/** Return what to say to who hears the page when a job has changed: new states, and each quarter of a step. Null for nothing. */
export function spoken(before, job) {
  if (before.state !== job.state) return `${jobTitle(job)}: ${STATES[job.state].toLowerCase()}. ${job.error ?? ""}`.trim();
  const quarter = ({ done, total }) => (total > 0 ? Math.floor((4 * done) / total) : 0);
  if (job.state !== "running" || before.step !== job.step || quarter(job) <= quarter(before) || quarter(job) > 3) return null;
  return `${jobTitle(job)}: ${job.step}, ${25 * quarter(job)} percent.`;
}

export class JobItem {
  constructor(job) {
    this.element = fromTemplate("job");
    this.part("h4 .name").append(title(job.command), " ", ...nameParts(target(job)));
    for (const button of this.element.querySelectorAll("button")) {
      button.setAttribute("aria-label", `${button.textContent}: ${jobTitle(job)}`);
    }
    this.part(".again").setAttribute("aria-label", `Edit and run again: ${jobTitle(job)}`);
    this.part(".open").setAttribute("aria-label", `Open ${target(job)} in the viewer`);
    this.part("progress").setAttribute("aria-label", `Progress of ${jobTitle(job)}`);
    this.part(".cancel").addEventListener("click", () => this.tell(() => this.cancel()));
    this.part(".remove").addEventListener("click", () => this.tell(() => ask(this.path, { method: "DELETE" })));
    this.part(".retry").addEventListener("click", () => this.tell(() => this.retry()));
    this.part(".look").addEventListener("click", () => this.tell(() => this.look()));
    this.part(".log").addEventListener("click", () => openLog(this.job, `Log: ${jobTitle(this.job)}`));
    this.update(job);
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  /** Show a new state of the job. */
  update(job) {
    this.job = job;
    this.element.dataset.state = job.cancelling ? "cancelling" : job.state;
    setText(this.part(".state"), job.cancelling ? "Cancelling …" : STATES[job.state]);
    this.showTime();
    setTextOrHide(this.part(".error"), job.error);
    setTextOrHide(this.part(".summary"), job.summary?.split("\n")[0]);
    setTextOrHide(this.part(".told"), told(job));
    this.showProgress(job);
    this.showActions(job);
  }

  /** Show how long ago it began or ended. */
  showTime() {
    setText(this.part(".when"), when(this.job));
  }

  showProgress({ state, step, done, total, unit, rate, seconds_left: left }) {
    const isShown = state === "running" || (state === "interrupted" && total > 0);
    this.part(".progress").hidden = !isShown;
    if (!isShown) return;
    const progress = this.part("progress");
    if (total > 0) setAttributes(progress, { max: total, value: done });
    else progress.removeAttribute("value");
    setText(this.part(".step"), step ? title(step) : "Begins");
    setText(this.part(".percent"), total > 0 ? `${Math.floor((100 * done) / total)} %` : "");
    setText(this.part(".amount"), total > 0 ? progressText({ done, total, unit, rate, left, state }) : "");
  }

  showActions(job) {
    const active = document.activeElement;
    const hadFocus = this.element.contains(active);
    this.part(".cancel").hidden = isEnded(job) || job.cancelling;
    this.part(".retry").hidden = !isRetryable(job);
    this.part(".remove").hidden = !isEnded(job);
    this.part(".log").hidden = job.attempts === 0;
    setAttributes(this.part(".open"), { href: job.link, hidden: !job.link });
    this.part(".look").hidden = !isWritten(job) || Boolean(job.link);
    this.part(".again").href = address("new", { command: job.command, ...textOptions(job.options) });
    this.part(".again").hidden = !isEnded(job);
    if (hadFocus && active.hidden) focusOn(this.part("h4"));
  }

  get path() {
    return `/api/jobs/${this.job.id}`;
  }

  /** Cancel the job. One that has ended meanwhile is shown so: the same request would take it off the list. */
  async cancel() {
    const job = await ask(this.path);
    if (isEnded(job)) this.update(job);
    else await ask(this.path, { method: "DELETE" });
  }

  retry() {
    return ask(`${this.path}/retry`, { method: "POST", members: {} });
  }

  /** Open a dataset that is being written: the viewer gets what is not there yet from the source. */
  async look() {
    // The tab is opened at once: after an answer it would be taken for an advertisement.
    const tab = window.open("about:blank", "_blank");
    if (tab === null) throw new Error("The browser did not open a new tab.");
    tab.opener = null;
    try {
      const { link } = await ask(`/api/link?${new URLSearchParams({ name: this.job.dataset })}`);
      tab.location.replace(link);
    } catch (error) {
      tab.close();
      throw error;
    }
  }

  /** Do what was asked for, and show the sentence when it is refused. */
  async tell(action) {
    setTextOrHide(this.part(".problem"), "");
    try {
      await action();
    } catch (error) {
      setTextOrHide(this.part(".problem"), error.message);
      announce(error.message);
    }
  }
}

function progressText({ done, total, unit, rate, left, state }) {
  const parts = [`${measured(done, unit)} of ${measured(total, unit)}`];
  if (state === "running" && rate) parts.push(`${measured(rate, unit)}/s`);
  if (state === "running" && left !== null) parts.push(`${duration(left)} left`);
  return parts.map((part) => part.replaceAll(" ", "\u00a0")).join(" · ");
}

function measured(number, unit) {
  if (unit === "bytes") return bytes(number);
  if (unit === "voxels") return amount(number, "voxels");
  return `${number < 100 && !Number.isInteger(number) ? Number(number.toPrecision(2)) : grouped(number)} ${unit ?? ""}`.trim();
}

function when(job) {
  const [created, started, ended] = [job.created, job.started, job.ended].map((time) => time && Date.parse(time) / 1000);
  if (ended) return started ? `${ago(ended)}, took ${duration(ended - started)}` : ago(ended);
  return started ? `started ${ago(started)}` : `queued ${ago(created)}`;
}

function told({ state, attempts }) {
  if (state === "interrupted") return "Its process was stopped. It goes on where it was as soon as its turn comes.";
  return state === "running" && attempts > 1 ? `Goes on where it was (attempt ${attempts}).` : "";
}

const textOptions = (options) => Object.fromEntries(Object.entries(options).map(([name, value]) =>
  [name, Array.isArray(value) ? value.join(name === "files" ? "\n" : ",") : String(value)]));
