// The view of jobs: what runs, what waits and what has ended, as the stream of events tells it.

import { announce } from "/static/announcements.js";
import { loadDatasets } from "/static/datasets.js";
import { byId, setChildren, setText, setTextOrHide } from "/static/elements.js";
import { JobItem, isEnded, spoken } from "/static/job.js";
import { startStream } from "/static/stream.js";
import { focusOn, isShown, onShow } from "/static/views.js";

const ENDED_AT_ONCE = 50; // ended jobs that are shown before one asks for more

const MINUTE = 60_000; // ms

const items = new Map(); // id -> JobItem
let endedShown = ENDED_AT_ONCE;
let wanted = null; // id of the job to put the focus on as soon as it is here
let isDue = false;

function setAll(jobs, touched) {
  const ids = new Set(jobs.map((job) => job.id));
  for (const id of items.keys()) if (!ids.has(id) && !touched.has(id)) items.delete(id);
  for (const job of jobs) if (!touched.has(job.id)) setJob(job);
  byId("jobs-loading").hidden = true;
  setTextOrHide(byId("jobs-problem"), "");
  showSoon();
}

function tellRefused(error) {
  byId("jobs-loading").hidden = true;
  setTextOrHide(byId("jobs-problem"), `The jobs could not be loaded: ${error.message}`);
}

function setJob(job) {
  const known = items.get(job.id);
  const sentence = known && spoken(known.job, job);
  if (sentence) announce(sentence);
  if (known && known.job.state !== job.state && job.state === "done") loadDatasets();
  if (known) known.update(job);
  else items.set(job.id, new JobItem(job));
  showSoon();
}

function remove(id) {
  const item = items.get(id);
  if (!item) return;
  const hadFocus = item.element.contains(document.activeElement);
  items.delete(id);
  showSoon();
  if (hadFocus) focusOn(byId("jobs-view").querySelector("h2"));
}

/** Show the lists anew, once for all events that came before the next picture. */
function showSoon() {
  if (isDue) return;
  isDue = true;
  // Not an animation frame: there is none while the tab is hidden.
  setTimeout(() => { isDue = false; showLists(); }, 0);
}

function showLists() {
  const focused = document.activeElement;
  const all = [...items.values()].sort((a, b) => b.job.id - a.job.id);
  const of = (test) => all.filter(({ job }) => test(job));
  const running = of((job) => job.state === "running");
  const waiting = [...of((job) => job.state === "interrupted"), ...of((job) => job.state === "queued").reverse()];
  const ended = of(isEnded);
  showList("running", running, running);
  showList("waiting", waiting, waiting);
  showList("ended", ended, ended.slice(0, endedShown));
  byId("no-jobs").hidden = all.length > 0 || !byId("jobs-loading").hidden;
  byId("more-ended").hidden = ended.length <= endedShown;
  setText(byId("active"), running.length + waiting.length === 0 ? "" : String(running.length + waiting.length));
  // A job that goes from one list to another loses the focus on its way.
  if (focused !== document.activeElement && focused.isConnected) focused.focus();
  focusWanted();
}

function showList(name, all, shown) {
  const section = byId(`${name}-jobs`);
  section.hidden = all.length === 0;
  setText(section.querySelector("h3 span"), String(all.length));
  setChildren(section.querySelector("ul"), shown.map((item) => item.element));
}

function focusWanted() {
  const item = items.get(wanted);
  if (!item || !isShown("jobs")) return;
  wanted = null;
  item.element.scrollIntoView({ block: "center" });
  focusOn(item.element.querySelector("h4"));
}

function showMore() {
  const first = byId("ended-jobs").querySelectorAll("li")[endedShown - 1];
  endedShown += ENDED_AT_ONCE;
  showLists();
  if (first?.nextElementSibling) focusOn(first.nextElementSibling.querySelector("h4"));
}

/** Make the view work. */
export function startJobs() {
  onShow("jobs", (parameters) => {
    wanted = parameters.has("job") ? Number(parameters.get("job")) : null;
    showSoon();
  });
  setInterval(() => { if (isShown("jobs")) for (const item of items.values()) item.showTime(); }, MINUTE / 2);
  byId("more-ended").addEventListener("click", showMore);
  startStream(setAll, setJob, remove, tellRefused);
}
