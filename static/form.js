// The form of one command: the fields of its arguments and options, and what they say.

import { argumentFields, lines } from "/static/argument.js";
import { byId, element, setTextOrHide } from "/static/elements.js";
import { optionField } from "/static/field.js";

/** Options that are asked for at once; all others are folded. */
const FIRST = new Set([
  "type", "encoding", "resolution", "channel", "threshold", "min_size", "format", "max_error", "voxel_size",
  "unit", "space", "table",
]);

export class CommandForm {
  /** command: as /api/commands describes it. */
  constructor(command) {
    this.command = command;
    this.arguments = argumentFields(command);
    this.options = command.options.map(optionField);
    this.fields = [...this.arguments, ...this.options];
    const isFirst = (field) => FIRST.has(field.name);
    this.element = element("div", {},
      group("fields arguments", this.arguments),
      group("fields", this.options.filter(isFirst)),
      folded(this.options.filter((field) => !isFirst(field))));
  }

  /** Return the field of this name, null if there is none. */
  field(name) {
    return this.fields.find((field) => field.name === name) ?? null;
  }

  /** The text of the first argument that is read, empty when there is none yet. */
  get source() {
    const read = this.command.arguments.find(({ kind }) => kind === "input");
    return read ? (this.field(read.name).value ?? "") : "";
  }

  /** The text of what is read, be it a source or a dataset that gets more; empty when there is none yet. */
  get read() {
    return this.command.arguments.some(({ kind }) => kind === "input") ? this.source : (this.field("dataset")?.value ?? "");
  }

  /** Return the options of a job: what was typed or chosen. */
  values() {
    const typed = Object.fromEntries(this.fields.map((field) => [field.name, field.value]).filter(([, value]) => value !== null));
    for (const { name, kind } of this.command.arguments) {
      if (kind !== "files") continue;
      typed[name] = [...lines(typed[name] ?? ""), ...(typed.dataset ? [typed.dataset] : [])];
      delete typed.dataset;
    }
    return typed;
  }

  /** Fill in fields. values: name -> text, JSON value, or list of files. */
  fill(values) {
    for (const [name, value] of Object.entries(values)) {
      const isFiles = this.command.arguments.some((argument) => argument.name === name && argument.kind === "files");
      if (isFiles) this.fillFiles(name, value);
      else if (this.field(name)) this.field(name).value = String(value);
    }
  }

  fillFiles(name, files) {
    const all = Array.isArray(files) ? files : lines(files);
    this.field(name).value = all.slice(0, -1).join("\n");
    this.field("dataset").value = all.at(-1) ?? "";
  }

  /** Return the first field that has to be filled in and is not, null if there is none. */
  missing() {
    // Of files a table may tell.
    const names = this.command.arguments.filter(({ required, kind }) => required && kind !== "files").map(({ name }) => name);
    return this.arguments.find(({ name, value }) => [...names, "dataset"].includes(name) && value === null) ?? null;
  }

  /** Show a sentence beside the field that it is about, which is returned, or by itself; nothing when it is empty. */
  tellRefusal(sentence) {
    this.clearErrors();
    const field = sentence ? this.refused(sentence) : null;
    field?.tell(sentence);
    setTextOrHide(byId("new-problem"), field ? "" : sentence);
    return field;
  }

  /** Return the field that a refusal is about: the one whose flag, or else whose text, the sentence names; null if none. */
  refused(sentence) {
    const flags = sentence.match(/--[a-z][a-z-]*/g) ?? [];
    const named = flags.map((flag) => this.options.find((field) => field.flag === flag)).find(Boolean);
    const texts = this.arguments.filter((field) => field.value !== null && sentence.includes(field.value.split("/").at(-1)));
    return named ?? texts[0] ?? null;
  }

  /** Return the first field that something is wrong with, null if there is none. */
  wrong() {
    return this.fields.find((field) => field.isWrong) ?? null;
  }

  /** Take all sentences about fields away. */
  clearErrors() {
    for (const field of this.fields) field.tell("");
  }
}

function group(name, fields) {
  return element("div", { class: name, hidden: fields.length === 0 }, ...fields.map((field) => field.element));
}

function folded(fields) {
  const title = element("summary", {}, `More options (${fields.length})`);
  return element("details", { hidden: fields.length === 0 }, title, group("fields", fields));
}
