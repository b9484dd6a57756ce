// One dataset on the page.

import { share, showAccess } from "/static/access.js";
import { bytes, counted, lengths, times } from "/static/amounts.js";
import { copy } from "/static/clipboard.js";
import { element, fromTemplate } from "/static/elements.js";
import { isTicked, tick } from "/static/selection.js";
import { mayWrite } from "/static/session.js";
import { address } from "/static/views.js";

/** Return the list item of a dataset (of /api/datasets). title: its name, or the served folder's if it is that itself.
 *  changed: called when others may open it than before. */
export function card(dataset, title, changed) {
  const item = fromTemplate("card");
  item.dataset.name = dataset.name;
  item.querySelector("h3").append(...nameParts(title));
  if (dataset.error) showError(item, dataset.error);
  else showDataset(item, dataset, title);
  showAccess(item, dataset, title, changed);
  return item;
}

/** Return the parts of a name: the folder, faint, and what is in it. */
export function nameParts(name) {
  const cut = name.lastIndexOf("/") + 1;
  return [element("span", { class: "above" }, name.slice(0, cut)), name.slice(cut)];
}

function showError(item, sentence) {
  item.firstElementChild.classList.add("broken");
  item.querySelector(".error").textContent = sentence;
  item.querySelector(".error").hidden = false;
  for (const part of [".picture", "dl", ".further", ".actions"]) item.querySelector(part).remove();
}

function showDataset(item, dataset, title) {
  const part = (selector) => item.querySelector(selector);
  part(".picture").href = dataset.link;
  part(".picture").append(picture(dataset));
  // Who can change it has a switch for it, and who sees the public ones alone knows.
  part(".type").textContent = dataset.access === "private" && !mayWrite() ? `${dataset.type}, private` : dataset.type;
  part(".shape").textContent = times(dataset.shape) + (dataset.num_channels > 1 ? `, ${dataset.num_channels} channels` : "");
  part(".voxel").textContent = lengths(dataset.voxel_size);
  part(".data").textContent = `${dataset.data_type}, ${dataset.encoding}, ${counted(dataset.scales.length, "scale")}`;
  part(".bytes").textContent = dataset.bytes === null ? "counting …" : bytes(dataset.bytes);
  showActions(part, dataset, title);
}

function showActions(part, dataset, title) {
  part(".open").href = dataset.link;
  part(".open").setAttribute("aria-label", `Open ${title} in the viewer`);
  part(".copy").setAttribute("aria-label", `Copy the link of ${title}`);
  part(".copy").addEventListener("click", (event) => {
    if (dataset.access === "private" && mayWrite()) share(dataset.name, title);
    else copy(event.currentTarget, dataset.link, `The link of ${title}`);
  });
  const box = part(".actions input");
  box.checked = isTicked(dataset.name);
  box.setAttribute("aria-label", `Show ${title} together with others`);
  box.addEventListener("change", () => tick(dataset.name, box.checked));
  part(".further").hidden = dataset.type !== "segmentation" || !mayWrite();
  for (const link of part(".further").querySelectorAll("a")) {
    link.href = address("new", { command: link.dataset.command, dataset: dataset.name });
    link.setAttribute("aria-label", `${link.textContent} for ${title}`);
  }
}

function picture(dataset) {
  if (!dataset.thumbnail) return "no picture";
  return element("img", { src: dataset.thumbnail, alt: "", loading: "lazy", decoding: "async" });
}
