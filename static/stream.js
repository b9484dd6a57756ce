// The stream of the jobs' events, open while the page is looked at: a browser has few connections to a server for all its tabs.

import { onReturn, tellGone } from "/static/connection.js";
import { Refused, ask, turns } from "/static/server.js";

const AGAIN_AFTER = 5000; // ms, when the server ended the stream for good

const turn = turns();
let source = null;
let listeners;

/** Call all({ jobs }) with every job when the stream begins, job(job) when one changes, removed(id) when one is gone, and
 *  refused(error) when the server does not tell. */
export function startStream(all, job, removed, refused) {
  listeners = { all, job, removed, refused };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  onReturn(open);
  open();
}

function close() {
  source?.close();
  source = null;
}

function open() {
  close();
  if (document.hidden) return;
  const opened = new EventSource("/api/events");
  source = opened;
  const touched = new Set(); // ids of jobs that the stream told of while all were asked for
  opened.addEventListener("open", () => loadAll(touched));
  opened.addEventListener("job", (event) => {
    const job = JSON.parse(event.data);
    touched.add(job.id);
    listeners.job(job);
  });
  opened.addEventListener("removed", (event) => {
    const { id } = JSON.parse(event.data);
    touched.add(id);
    listeners.removed(id);
  });
  opened.addEventListener("error", () => broken(opened));
}

async function loadAll(touched) {
  const isLast = turn();
  touched.clear();
  try {
    const { jobs } = await ask("/api/jobs");
    if (isLast()) listeners.all(jobs, touched);
  } catch (error) {
    // Where nobody answers, the stream breaks too, and begins again when the server is back.
    if (isLast() && error instanceof Refused) listeners.refused(error);
  }
}

async function broken(opened) {
  if (opened !== source) return;
  if (opened.readyState === EventSource.CLOSED) {
    setTimeout(() => { if (opened === source) open(); }, AGAIN_AFTER);
    loadAll(new Set()); // which tells what the stream does not: why it was refused
  }
  try {
    await fetch("/healthz", { cache: "no-store" });
  } catch {
    close();
    tellGone();
  }
}
