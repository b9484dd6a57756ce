// The list of datasets: asks /api/datasets, again while sizes are still being counted and when the page is looked at again.

const AGAIN_AFTER = 1500; // ms, while a size is being counted
const SEARCH_FROM = 7; // datasets

const byId = (id) => document.getElementById(id);
const chosen = new Set(); // names
const copied = new Map(); // button -> timer
let listed = [];

async function load() {
  try {
    const answer = await fetch("/api/datasets", { headers: { Accept: "application/json" } });
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.detail ?? `the server answered ${answer.status}`);
    tellProblem(body.complete ? "" : "The served folder holds more folders than are looked into: there may be more datasets than these.");
    show(body);
    if (listed.some((dataset) => !dataset.error && dataset.bytes === null)) setTimeout(load, AGAIN_AFTER);
  } catch (error) {
    byId("count").textContent = "";
    tellProblem(`The list of datasets could not be loaded: ${error.message}`);
  }
}

function tellProblem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = text === "";
}

function show({ datasets, root }) {
  const same = JSON.stringify(datasets) === JSON.stringify(listed);
  listed = datasets;
  byId("root").textContent = root || "data";
  byId("empty").hidden = datasets.length > 0;
  byId("search").hidden = datasets.length < SEARCH_FROM;
  document.body.classList.toggle("alone", datasets.filter((dataset) => !dataset.error).length < 2);
  if (!same) byId("datasets").replaceChildren(...datasets.map((dataset) => card(dataset, dataset.name || root)));
  filter();
}

function filter() {
  const wanted = byId("search").querySelector("input").value.trim().toLowerCase();
  let seen = 0;
  for (const item of byId("datasets").children) {
    item.hidden = !item.dataset.name.toLowerCase().includes(wanted);
    seen += !item.hidden;
  }
  const all = `${listed.length} dataset${listed.length === 1 ? "" : "s"}`;
  byId("count").textContent = seen === listed.length ? all : `${seen} of ${all}`;
}

function card(dataset, name) {
  const item = byId("card").content.firstElementChild.cloneNode(true);
  const part = (selector) => item.querySelector(selector);
  item.dataset.name = dataset.name;
  part("h2").replaceChildren(...nameParts(name));
  if (dataset.error) {
    item.firstElementChild.classList.add("broken");
    part(".error").textContent = dataset.error;
    part(".error").hidden = false;
    part("dl").remove();
    part(".actions").remove();
    return item;
  }
  part(".picture").href = dataset.link;
  part(".picture").append(picture(dataset));
  part(".shape").textContent = times(dataset.shape) + (dataset.num_channels > 1 ? `, ${dataset.num_channels} channels` : "");
  part(".voxel").textContent = lengths(dataset.voxel_size);
  part(".data").textContent = `${dataset.type}, ${dataset.data_type}, ${dataset.encoding}`;
  part(".scales").textContent = dataset.scales.length;
  part(".bytes").textContent = dataset.bytes === null ? "counting …" : bytes(dataset.bytes);
  const open = part(".actions .open");
  open.href = dataset.link;
  open.setAttribute("aria-label", `Open ${name} in the viewer`);
  part(".copy").setAttribute("aria-label", `Copy the link of ${name}`);
  part(".copy").addEventListener("click", (event) => copy(event.currentTarget, dataset.link, name));
  const box = part("input");
  box.checked = chosen.has(dataset.name);
  box.setAttribute("aria-label", `Show ${name} together with others`);
  box.addEventListener("change", () => choose(dataset.name, box.checked));
  return item;
}

function nameParts(name) {
  const cut = name.lastIndexOf("/") + 1;
  const folder = document.createElement("span");
  folder.className = "folder";
  folder.textContent = name.slice(0, cut);
  return [folder, name.slice(cut)];
}

function picture(dataset) {
  if (!dataset.thumbnail) return "no picture";
  const image = document.createElement("img");
  image.src = dataset.thumbnail;
  image.alt = "";
  image.loading = "lazy";
  return image;
}

async function copy(button, link, name) {
  const done = await toClipboard(link);
  byId("said").textContent = done ? `The link of ${name} is copied.` : "The link could not be copied.";
  button.textContent = done ? "Copied" : "Not copied";
  clearTimeout(copied.get(button));
  copied.set(button, setTimeout(() => { button.textContent = "Copy link"; }, 2000));
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers give the clipboard to https and to this machine only; over plain http the old way still works.
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

async function choose(name, wanted) {
  if (wanted) chosen.add(name);
  else chosen.delete(name);
  const names = listed.map((dataset) => dataset.name).filter((known) => chosen.has(known));
  byId("together").hidden = names.length < 2;
  byId("chosen").textContent = `${names.length} datasets`;
  if (names.length < 2) return;
  const answer = await fetch("/api/link?" + new URLSearchParams(names.map((known) => ["name", known])));
  if (answer.ok) byId("together").querySelector("a").href = (await answer.json()).link;
}

function clear() {
  chosen.clear();
  for (const box of byId("datasets").querySelectorAll("input")) box.checked = false;
  byId("together").hidden = true;
}

const times = (numbers) => numbers.join(" × ");

function lengths(nanometres) {
  const smallest = Math.min(...nanometres);
  const [unit, factor] = smallest >= 1e5 ? ["mm", 1e6] : smallest >= 100 ? ["µm", 1e3] : ["nm", 1];
  return `${times(nanometres.map((length) => Number((length / factor).toPrecision(6))))} ${unit}`;
}

function bytes(count) {
  const units = ["bytes", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  while (count >= 999.5 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${Number(count.toPrecision(3))} ${units[unit]}`;
}

byId("search").addEventListener("input", filter);
byId("together").querySelector("button").addEventListener("click", clear);
document.addEventListener("visibilitychange", () => { if (!document.hidden) load(); });
load();
