// What is said to people who hear the page: one short sentence after the other, never in the middle of one.

import { byId } from "/static/elements.js";

const APART = 1200; // ms between two sentences: a region that changes sooner is read once only
const waiting = [];
let timer = null;

/** Have a screen reader say a sentence when it has nothing else to say. */
export function announce(sentence) {
  waiting.push(sentence);
  if (timer === null) next();
}

function next() {
  const sentences = waiting.splice(0);
  timer = sentences.length === 0 ? null : setTimeout(next, APART);
  if (sentences.length > 0) byId("said").textContent = sentences.join(" ");
}
