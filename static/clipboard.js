// Text to the clipboard, with a word on the button that did it.

import { announce } from "/static/announcements.js";

const SHOWN = 2000; // ms
const timers = new Map(); // button -> timer

/** Copy a text and tell on the button, and to who hears the page, how it went. what: `The link of NAME`. */
export async function copy(button, text, what) {
  const done = await toClipboard(text);
  announce(done ? `${what} is copied.` : `${what} could not be copied.`);
  const label = button.querySelector(".label") ?? button;
  label.dataset.before ??= label.textContent;
  label.textContent = done ? "Copied" : "Not copied";
  clearTimeout(timers.get(button));
  timers.set(button, setTimeout(() => { label.textContent = label.dataset.before; }, SHOWN));
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers give the clipboard to https and to this machine only; over plain http the old way still works.
    return copySelected(text);
  }
}

function copySelected(text) {
  const focused = document.activeElement;
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return done;
}
