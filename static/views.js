// The views of the page, one shown at a time; the address names it: #/datasets, #/new?command=mesh&dataset=NAME, #/jobs.

import { byId, setAttributes } from "/static/elements.js";

const FIRST = "datasets";
const views = new Map(); // name -> function of the address' parameters, called when the view is shown

/** Call a function with the parameters of the address (URLSearchParams) each time that a view is shown. */
export function onShow(name, callback) {
  views.set(name, callback);
}

/** Show the view that the address names, now and whenever it changes. */
export function startViews() {
  show();
  window.addEventListener("hashchange", () => {
    show();
    focusOn(heading(current().name));
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address names the view
    focusOn(heading(current().name));
  });
}

/** Return the address of a view. parameters: name -> value. */
export function address(name, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  return `#/${name}${query && `?${query}`}`;
}

/** Go to a view. */
export function goTo(name, parameters) {
  location.hash = address(name, parameters);
}

/** Put the focus on something that is not in the order of the tab key. */
export function focusOn(target) {
  target.tabIndex = -1;
  target.focus();
}

/** Tell whether a view is the one that is shown. */
export const isShown = (name) => current().name === name;

function current() {
  const [name, query] = location.hash.replace(/^#\//, "").split("?");
  return { name: views.has(name) ? name : FIRST, parameters: new URLSearchParams(query ?? "") };
}

function show() {
  const { name, parameters } = current();
  for (const other of views.keys()) byId(`${other}-view`).hidden = other !== name;
  for (const link of document.querySelectorAll("nav a")) {
    setAttributes(link, { "aria-current": link.hash === `#/${name}` && "page" });
  }
  document.title = `${heading(name).textContent} · glassine`;
  views.get(name)(parameters);
}

const heading = (name) => byId(`${name}-view`).querySelector("h2");
