// Requests to the server's API, and what it says when it refuses one.

import { tellGone } from "/static/connection.js";

const SIGN_IN = "You are not signed in, or no longer: sign in above to go on.";
const unauthorized = new EventTarget();
const NOBODY = [502, 503, 504]; // a proxy's statuses when the server behind it is gone

/** The server said no. message: its sentence. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The server did not answer. */
export class Unreachable extends Error {
  constructor() {
    super("The server does not answer.");
  }
}

/** Call a function each time that the server wants a token. */
export function onUnauthorized(callback) {
  unauthorized.addEventListener("unauthorized", () => callback());
}

/** Return a function to call before each request of one kind. It returns one that tells whether that request is still the last:
 *  answers may come in another order, and from before somebody signed in. */
export function turns() {
  let last = 0;
  return () => {
    last += 1;
    const mine = last;
    return () => mine === last;
  };
}

/** Ask the API and return its JSON, null for none. members: sent as JSON. Throws Refused, Unreachable, or AbortError. */
export async function ask(path, { method = "GET", members, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (members !== undefined) headers["Content-Type"] = "application/json";
  const body = members === undefined ? undefined : JSON.stringify(members);
  return read(await send(path, { method, headers, body, signal }));
}

/** Send a request and return the response. Throws Unreachable when there is none, AbortError when aborted. */
export async function send(path, request) {
  let response;
  try {
    response = await fetch(path, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    tellGone();
    throw new Unreachable();
  }
  // Without JSON it is no answer of the server, which itself says 503 of what it has no room for now.
  if (!NOBODY.includes(response.status) || isJson(response)) return response;
  tellGone();
  throw new Unreachable();
}

/** Tell whether a response is one of the API, and not of a proxy before it. */
export const isJson = (response) => (response.headers.get("Content-Type") ?? "").startsWith("application/json");

/** Return the JSON of a response, null for none. Throws Refused when it is one of an error. */
export async function read(response) {
  const text = await response.text();
  const members = parsed(text);
  if (response.ok) return members;
  if (response.status === 401) {
    unauthorized.dispatchEvent(new Event("unauthorized"));
    throw new Refused(401, SIGN_IN);
  }
  throw new Refused(response.status, sentence(members, response.status));
}

function parsed(text) {
  try {
    return text === "" ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

function sentence(members, status) {
  const detail = members?.detail;
  return typeof detail === "string" ? detail : `The server answered with status ${status}.`;
}
