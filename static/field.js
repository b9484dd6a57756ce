// One field of the form: label, control, what it is for, and the sentence that the server says about it.

import { element, newId, setAttributes, setTextOrHide } from "/static/elements.js";

const SPELLINGS = { jpeg: "JPEG", swc: "SWC", pdrf: "PDRF", id: "ID", ids: "IDs", csv: "CSV", lods: "Levels of detail" };

/** Return a name of the API for the eye: `jpeg_quality` is `JPEG quality`. */
export function title(name) {
  const words = name.split(/[_-]/).map((word) => SPELLINGS[word] ?? word).join(" ");
  return words[0].toUpperCase() + words.slice(1);
}

export class Field {
  /** name: the option's. control: its input or select. help: a sentence. flag: how the command line calls it, if it does. */
  constructor({ name, control, help, flag = null, around = control }) {
    const id = newId();
    this.name = name;
    this.flag = flag;
    this.control = control;
    this.hint = element("p", { class: "hint", id: `${id}-hint` }, help);
    this.error = element("p", { class: "error", id: `${id}-error`, hidden: true });
    setAttributes(control, { id, "aria-describedby": this.hint.id });
    const label = element("label", { for: id }, title(name));
    if (flag) label.append(" ", element("code", { "aria-hidden": "true" }, flag));
    this.element = element("div", { class: "field" }, label, around, this.hint, this.error);
    if (control.type === "checkbox") this.element.classList.add("switch");
  }

  /** What is sent to the server: text, true or false, null for what is as it is when nothing is chosen. */
  get value() {
    const { type, checked, defaultChecked, value, dataset } = this.control;
    if (type === "checkbox") return checked === defaultChecked ? null : checked;
    const text = value.trim();
    return text === "" || text === dataset.default ? null : text;
  }

  set value(text) {
    if (this.control.type === "checkbox") this.control.checked = text === "true";
    else this.control.value = text;
  }

  /** Whether something is wrong with the field. */
  get isWrong() {
    return !this.error.hidden;
  }

  /** Show what is wrong with the field, nothing when the sentence is empty. */
  tell(sentence) {
    setTextOrHide(this.error, sentence);
    const described = sentence ? `${this.error.id} ${this.hint.id}` : this.hint.id;
    setAttributes(this.control, { "aria-invalid": sentence ? "true" : null, "aria-describedby": described });
  }

  /** Put the focus on the field, wherever it is folded in. */
  focus() {
    const folded = this.element.closest("details");
    if (folded) folded.open = true;
    this.control.focus();
  }
}

/** Return the field of an option as /api/commands describes it. */
export function optionField(option) {
  const { name, flag } = option;
  return new Field({ name, flag, control: control(option), help: help(option) });
}

function help({ help: sentence, default: value, kind, minimum, maximum }) {
  const bounds = typeof minimum === "number" && typeof maximum === "number" ? ` From ${minimum} to ${maximum}.` : "";
  const isTold = value !== null && kind !== "switch" && kind !== "choice";
  return `${sentence}${bounds}${isTold ? ` Default: ${value}.` : ""}`;
}

function control(option) {
  if (option.kind === "switch") return element("input", { type: "checkbox", checked: option.default === true });
  if (option.kind === "choice") return choices(option);
  const isNumber = option.kind === "whole" || option.kind === "number";
  const input = element("input", {
    type: "text", inputmode: isNumber && "decimal", placeholder: option.kind === "triple" && "x,y,z",
    autocomplete: "off", spellcheck: "false", autocapitalize: "none",
  });
  input.dataset.default = option.default ?? "";
  return input;
}

function choices({ choices: names, default: value }) {
  const select = element("select");
  if (value === null) select.append(element("option", { value: "" }, "not set"));
  for (const name of names) {
    const shown = name === value ? `${name} (default)` : name;
    select.append(element("option", { value: name, selected: name === value }, shown));
  }
  select.dataset.default = value ?? "";
  return select;
}
