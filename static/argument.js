// The fields of a command's arguments: what is read and what is written.

import { bytes } from "/static/amounts.js";
import { Combobox } from "/static/combobox.js";
import { element } from "/static/elements.js";
import { Field } from "/static/field.js";
import { Uploader } from "/static/uploader.js";

/** What there is on the server to choose from: sources (of /api/sources) and the names of datasets. */
export class Offers {
  constructor(sources, datasets) {
    this.sources = sources.map((one) => ({ value: one.source, name: one.name, note: note(one) }));
    this.datasets = datasets.map((name) => ({ value: name, name, note: "" }));
  }
}

function note({ kind, bytes: size, uploaded }) {
  const extent = kind === "folder" ? "folder" : size === null ? "" : bytes(size);
  return [uploaded ? "uploaded" : "", extent].filter(Boolean).join(", ");
}

/** Return the fields of a command's arguments as /api/commands describes it; files have two, of which the last is the dataset. */
export function argumentFields({ arguments: all }) {
  // A name of its own for what is made of a source; one of those that are there for what goes into a dataset.
  const isNew = all.some(({ kind }) => kind === "input");
  return all.flatMap((argument) => {
    if (argument.kind === "input") return [inputField(argument)];
    if (argument.kind === "output") return [datasetField({ ...argument, isNew })];
    return [filesField(argument), datasetField({ name: "dataset", help: "The dataset that they go to.", isNew })];
  });
}

function textInput() {
  return element("input", { type: "text" });
}

function datasetField({ name, help, isNew }) {
  const control = textInput();
  if (isNew) {
    // Who goes to the field to type another name writes over the one that was suggested.
    control.addEventListener("focus", () => control.select());
    return new Field({ name, control, help });
  }
  const combobox = new Combobox(control);
  const field = new Field({ name, control, help, around: combobox.element });
  field.offer = ({ datasets }) => combobox.offer(datasets);
  return field;
}

function inputField({ name, help }) {
  const control = textInput();
  const combobox = new Combobox(control);
  const uploader = new Uploader(({ source }) => {
    control.value = source;
    control.dispatchEvent(new Event("change", { bubbles: true }));
  });
  const field = new Field({ name, control, help, around: combobox.element });
  field.element.append(uploader.element);
  field.offer = ({ sources }) => combobox.offer(sources);
  return field;
}

function filesField({ name, help }) {
  const control = element("textarea", { rows: "3", spellcheck: "false", autocapitalize: "none" });
  const uploader = new Uploader(({ files }) => {
    control.value = [...lines(control.value), ...files].join("\n");
    control.dispatchEvent(new Event("change", { bubbles: true }));
  });
  const field = new Field({ name, control, help: `${help} One a line.` });
  field.element.append(uploader.element);
  return field;
}

/** Return the lines of a text that are not empty. */
export const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
