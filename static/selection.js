// The datasets that are ticked, to be opened in one view together.

import { announce } from "/static/announcements.js";
import { byId } from "/static/elements.js";
import { ask } from "/static/server.js";

const ticked = new Set(); // names
let known = []; // names, in the order of the page

const bar = byId("together");
const link = bar.querySelector("a");
const open = (event) => { if (!link.hasAttribute("href")) event.preventDefault(); };

/** Tell whether a dataset is ticked. */
export const isTicked = (name) => ticked.has(name);

/** Tick a dataset or not. */
export function tick(name, wanted) {
  if (wanted) ticked.add(name);
  else ticked.delete(name);
  update();
}

/** Tell which datasets there are: others are no longer ticked. */
export function setKnown(names) {
  known = names;
  for (const name of ticked) if (!names.includes(name)) ticked.delete(name);
  update();
}

function chosen() {
  return known.filter((name) => ticked.has(name));
}

async function update() {
  const names = chosen();
  bar.hidden = names.length < 2;
  document.body.classList.toggle("choosing", !bar.hidden);
  byId("chosen").textContent = `${names.length} datasets`;
  if (bar.hidden) return;
  link.removeAttribute("href");
  try {
    const answer = await ask("/api/link?" + new URLSearchParams(names.map((name) => ["name", name])));
    if (String(names) === String(chosen())) link.href = answer.link;
  } catch (error) {
    byId("chosen").textContent = error.message;
    announce(error.message);
  }
}

function clear() {
  const boxes = document.querySelectorAll("#datasets .actions input:checked");
  for (const box of boxes) box.checked = false;
  ticked.clear();
  update();
  boxes[0]?.focus();
}

/** Make the bar below the page work. */
export function startSelection() {
  link.addEventListener("click", open);
  bar.querySelector("button").addEventListener("click", clear);
}
