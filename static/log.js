// What a job has printed, in a dialog; of a running job it is read again while the dialog is open.

import { byId, setText } from "/static/elements.js";
import { ask } from "/static/server.js";

const AGAIN_AFTER = 2000; // ms
let timer;

/** Show the end of a job's log. title: the heading. */
export function openLog(job, title) {
  const dialog = byId("log");
  setText(dialog.querySelector("h2"), title);
  setText(dialog.querySelector("pre"), "");
  dialog.querySelector("a").href = `/api/jobs/${job.id}/log`;
  dialog.showModal();
  load(job.id);
}

async function load(id) {
  clearTimeout(timer);
  const pre = byId("log").querySelector("pre");
  const wasAtEnd = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 4;
  try {
    const job = await ask(`/api/jobs/${id}`);
    setText(pre, job.log || "Nothing was printed yet.");
    if (job.state === "running" && byId("log").open) timer = setTimeout(load, AGAIN_AFTER, id);
  } catch (error) {
    setText(pre, error.message);
  }
  if (wasAtEnd) pre.scrollTop = pre.scrollHeight;
}

/** Make the dialog work. */
export function startLog() {
  const dialog = byId("log");
  dialog.querySelector("button").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => clearTimeout(timer));
}
