// Who looks at the page: what they may do here, and the form in which the server's token is typed. Nothing is kept of it but the
// session's cookie, which no script can read.

import { announce } from "/static/announcements.js";
import { returned, tellReturned } from "/static/connection.js";
import { byId, setAttributes, setText, setTextOrHide } from "/static/elements.js";
import { Unreachable, ask, onUnauthorized, read, send } from "/static/server.js";

const PATH = "/api/session";
const NEEDED = "Who has the token of this server sees all datasets and runs jobs.";
const ENDED = "Your session has ended. Sign in again to go on.";
const WRONG = "This is not the token of this server.";
const MISSING = "Type the token.";
const NOBODY = { token_needed: true, right: "public", expires: null };

const form = byId("sign-in");
const field = form.querySelector("input");
const button = form.querySelector("button");
let session = NOBODY;
let begun = 0; // sessions that were begun on this page

/** Tell whether the server has a token, so that datasets are public or private. */
export const isGuarded = () => session.token_needed;

/** Tell whether private datasets are seen. */
export const mayRead = () => session.right !== "public";

/** Tell whether jobs may be run and datasets be made public. */
export const mayWrite = () => session.right === "write";

/** Find out what whoever looks may do, and show that much of the page. */
export async function startSession() {
  session = await asked();
  for (const part of document.querySelectorAll("[data-needs=write]")) part.hidden = !mayWrite();
  byId("sign-out").hidden = session.expires === null;
  if (!mayRead()) showForm(NEEDED);
  form.addEventListener("submit", signIn);
  byId("sign-out").addEventListener("click", signOut);
  onUnauthorized(() => checkSession().catch(() => {})); // a server that is away is told
}

/** Find out whether the session has ended meanwhile, and ask for the token again if it has. */
export async function checkSession() {
  if (!isGuarded() || !mayRead()) return;
  const before = begun;
  const { right } = await ask(PATH);
  // What was asked in the last session may be answered in the next one.
  if (right !== session.right && begun === before) tellEnded();
}

async function asked() {
  for (;;) {
    try {
      return await ask(PATH);
    } catch (error) {
      // What else is asked for is refused in the same way, and each view says why.
      if (!(error instanceof Unreachable)) return NOBODY;
    }
    await returned(new AbortController().signal);
  }
}

function tellEnded() {
  if (form.hidden) showForm(ENDED, announce);
}

function showForm(sentence, say = () => {}) {
  setText(byId("sign-in-reason"), sentence);
  form.hidden = false;
  say(sentence);
}

async function signIn(event) {
  event.preventDefault();
  const token = field.value.trim();
  tell(token ? "" : MISSING);
  if (!token) return;
  button.disabled = true;
  try {
    await begin(token);
  } catch (error) {
    tell(error.message);
  } finally {
    button.disabled = false;
  }
}

async function begin(token) {
  const headers = { "Content-Type": "application/json" };
  const response = await send(PATH, { method: "POST", headers, body: JSON.stringify({ token }) });
  if (response.status === 401) {
    tell(WRONG);
    field.select();
    return;
  }
  const { right } = await read(response);
  field.value = "";
  // What was typed before a session ended is still there.
  if (right === session.right) goOn();
  else location.reload();
}

function goOn() {
  begun += 1;
  form.hidden = true;
  announce("You are signed in again.");
  document.querySelector("section:not([hidden]) > .head h2")?.focus();
  tellReturned();
}

async function signOut() {
  try {
    await send(PATH, { method: "DELETE" });
  } catch {
    return; // the server is gone, which is told
  }
  history.replaceState(null, "", "/");
  location.reload();
}

function tell(sentence) {
  setTextOrHide(byId("sign-in-error"), sentence);
  setAttributes(field, { "aria-invalid": sentence ? "true" : null });
  if (sentence) field.focus();
}
