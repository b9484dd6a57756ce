// Who may see a dataset: the switch on its card, and links that expire.

import { announce } from "/static/announcements.js";
import { copy } from "/static/clipboard.js";
import { byId, setText, setTextOrHide } from "/static/elements.js";
import { ask } from "/static/server.js";
import { mayWrite } from "/static/session.js";

const WHO = { public: "Anyone may open it", private: "With a token or a link" };

/** Show on a card who may open its dataset. changed: called when that is another one. */
export function showAccess(item, { name, access }, title, changed) {
  const row = item.querySelector(".access");
  row.hidden = access === null || !mayWrite();
  if (row.hidden) return;
  const box = row.querySelector("input");
  box.checked = access === "public";
  box.setAttribute("aria-label", `Public: ${title}`);
  setText(row.querySelector(".who"), WHO[access]);
  box.addEventListener("change", async () => {
    const wanted = box.checked;
    box.checked = !wanted; // until it is so
    if (wanted && !(await isConfirmed(title))) return;
    await change({ name, access: wanted ? "public" : "private" }, { title, row, changed });
  });
}

async function change(members, { title, row, changed }) {
  const problem = row.nextElementSibling;
  setTextOrHide(problem, "");
  try {
    await ask("/api/access", { method: "POST", members });
    await changed();
    announce(`${title} is ${members.access}.`);
  } catch (error) {
    setTextOrHide(problem, error.message);
    announce(error.message);
  }
}

/** Ask whether a dataset shall be seen by anyone, and return the answer. */
function isConfirmed(title) {
  const dialog = byId("publish");
  setText(dialog.querySelector("h2"), `Make ${title} public?`);
  return answered(dialog).then((answer) => answer === "yes");
}

let answer = null; // takes the answer of the dialog that is open

/** Show a dialog, and return the value of the button that closed it, "" for the Escape key. */
function answered(dialog) {
  // What closed it last may not have been told yet.
  answer?.("");
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => { answer = resolve; });
}

function tellAnswer({ target: dialog }) {
  if (dialog.open) return; // that was the last time
  answer?.(dialog.returnValue);
  answer = null;
}

let shared = null; // the dataset that the dialog is about: name, title

/** Have a link of a dataset made that expires. */
export function share(name, title) {
  const dialog = byId("share");
  shared = { name, title };
  setText(dialog.querySelector("h2"), `Share ${title}`);
  showMade("", "");
  setTextOrHide(dialog.querySelector(".error"), "");
  dialog.showModal();
}

/** Make the dialogs work. */
export function startAccess() {
  byId("publish").addEventListener("close", tellAnswer);
  const dialog = byId("share");
  dialog.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    makeLink(dialog);
  });
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("change", () => showMade("", ""));
}

async function makeLink(dialog) {
  const { name, title } = shared;
  setTextOrHide(dialog.querySelector(".error"), "");
  try {
    const query = new URLSearchParams({ name, expires: dialog.querySelector("input:checked").value });
    const { link, expires } = await ask(`/api/link?${query}`);
    showMade(link, `It works until ${when(expires)}.`);
    await copy(dialog.querySelector(".make"), link, `The link of ${title}`);
  } catch (error) {
    setTextOrHide(dialog.querySelector(".error"), error.message);
    announce(error.message);
  }
}

function showMade(link, sentence) {
  const made = byId("share").querySelector(".made");
  made.hidden = link === "";
  made.querySelector("input").value = link;
  setText(made.querySelector("p"), sentence);
}

const when = (time) => new Date(time).toLocaleString(undefined, { dateStyle: "long", timeStyle: "short" });
