// The view of datasets: asks /api/datasets, again while sizes are still being counted and when the page is looked at again.

import { counted } from "/static/amounts.js";
import { card } from "/static/card.js";
import { onReturn } from "/static/connection.js";
import { byId, setChildren, setText, setTextOrHide } from "/static/elements.js";
import { setKnown } from "/static/selection.js";
import { Unreachable, ask, turns } from "/static/server.js";
import { checkSession, mayRead, mayWrite } from "/static/session.js";
import { isShown, onShow } from "/static/views.js";

const AGAIN_AFTER = 1500; // ms, while a size is being counted
const SEARCH_FROM = 7; // datasets
const PARTLY = "The served folder holds more folders than are looked into: there may be more datasets than these.";

const cards = new Map(); // name -> { text, item }: a card is made anew only when what it shows has changed
const turn = turns();
let listed = [];
let timer;

/** Ask for the datasets and show them. */
export async function loadDatasets() {
  clearTimeout(timer);
  const isLast = turn();
  try {
    const [answer] = await Promise.all([ask("/api/datasets"), checkSession()]);
    if (!isLast()) return;
    setTextOrHide(byId("datasets-problem"), answer.complete ? "" : PARTLY);
    show(answer);
    if (listed.some((dataset) => !dataset.error && dataset.bytes === null)) timer = setTimeout(loadDatasets, AGAIN_AFTER);
  } catch (error) {
    if (!isLast()) return;
    const sentence = `The list could not be loaded: ${error.message}`;
    if (!(error instanceof Unreachable)) setTextOrHide(byId("datasets-problem"), sentence);
    if (listed.length === 0) setText(byId("count"), "");
  }
}

function show({ datasets, root }) {
  listed = datasets;
  byId("root").textContent = root || "data";
  byId("empty").hidden = datasets.length > 0 || !mayWrite();
  byId("nothing-yet").hidden = datasets.length > 0 || mayWrite() || !mayRead();
  byId("nothing-public").hidden = datasets.length > 0 || mayRead();
  byId("search").hidden = datasets.length < SEARCH_FROM;
  const whole = datasets.filter((dataset) => !dataset.error);
  document.body.classList.toggle("alone", whole.length < 2);
  setChildren(byId("datasets"), datasets.map((dataset) => kept(dataset, dataset.name || root)));
  setKnown(whole.map((dataset) => dataset.name));
  filter();
}

function kept(dataset, title) {
  const text = JSON.stringify(dataset);
  if (cards.get(dataset.name)?.text !== text) cards.set(dataset.name, { text, item: card(dataset, title, () => changed(dataset.name)) });
  return cards.get(dataset.name).item;
}

/** Show the datasets anew after others may open one of them; its switch keeps the focus. */
async function changed(name) {
  await loadDatasets();
  cards.get(name)?.item.querySelector(".access input").focus();
}

function filter() {
  const wanted = byId("search").querySelector("input").value.trim().toLowerCase();
  let seen = 0;
  for (const item of byId("datasets").children) {
    item.hidden = !item.dataset.name.toLowerCase().includes(wanted);
    seen += !item.hidden;
  }
  const all = counted(listed.length, "dataset");
  setText(byId("count"), listed.length === 0 ? "" : seen === listed.length ? all : `${seen} of ${all}`);
  byId("nothing-found").hidden = seen > 0 || listed.length === 0;
}

/** Make the view work. */
export function startDatasets() {
  onShow("datasets", loadDatasets);
  onReturn(loadDatasets);
  byId("search").addEventListener("input", filter);
  document.addEventListener("visibilitychange", () => { if (!document.hidden && isShown("datasets")) loadDatasets(); });
}
