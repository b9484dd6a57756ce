// Whether the server answers: a message while it does not, and a word to all who wait for it when it does again.

import { announce } from "/static/announcements.js";
import { byId } from "/static/elements.js";

const AGAIN_AFTER = 2000; // ms
const returns = new EventTarget();
let gone = false;

/** Call a function each time that the server is there again. */
export function onReturn(callback) {
  returns.addEventListener("return", () => callback());
}

/** Wait until the server is there again. Throws AbortError when signal says that nobody waits any more. */
export function returned(signal) {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    returns.addEventListener("return", resolve, { once: true, signal });
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** Tell that a request did not reach the server: it is asked until it answers. */
export function tellGone() {
  if (gone) return;
  gone = true;
  byId("gone").hidden = false;
  announce(byId("gone").textContent);
  setTimeout(tryAgain, AGAIN_AFTER);
}

async function tryAgain() {
  if (!(await answers())) {
    setTimeout(tryAgain, AGAIN_AFTER);
    return;
  }
  gone = false;
  byId("gone").hidden = true;
  announce("The server answers again.");
  tellReturned();
}

/** Tell all who wait that what they ask for is answered again. */
export function tellReturned() {
  returns.dispatchEvent(new Event("return"));
}

async function answers() {
  try {
    return (await fetch("/healthz", { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}
