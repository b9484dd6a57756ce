// The uploads that lie on the server, to be deleted when they are no longer needed.

import { announce } from "/static/announcements.js";
import { bytes } from "/static/amounts.js";
import { element, setChildren, setTextOrHide } from "/static/elements.js";
import { ask } from "/static/server.js";
import { address } from "/static/upload.js";

export class Uploads {
  constructor() {
    this.list = element("ul");
    this.problem = element("p", { class: "error", hidden: true });
    this.summary = element("summary", {}, "What was uploaded before");
    this.element = element("details", { class: "uploads" }, this.summary, this.list, this.problem);
    this.element.addEventListener("toggle", () => { if (this.element.open) this.load(); });
  }

  async load() {
    try {
      const { uploads } = await ask("/api/uploads");
      const items = uploads.map((upload) => this.item(upload));
      setChildren(this.list, items.length > 0 ? items : [element("li", {}, "Nothing is there.")]);
      setTextOrHide(this.problem, "");
    } catch (error) {
      setTextOrHide(this.problem, error.message);
    }
  }

  item({ name, kind, offset, length, complete }) {
    const size = complete ? bytes(length) : `${bytes(offset ?? 0)} of ${length === null ? "?" : bytes(length)}`;
    const note = kind === "folder" ? "folder" : size;
    const button = element("button", { type: "button", "aria-label": `Delete the upload ${name}` }, "Delete");
    button.addEventListener("click", () => this.remove(name));
    return element("li", {}, element("span", {}, name), element("span", { class: "note" }, note), button);
  }

  async remove(name) {
    try {
      await ask(address(name), { method: "DELETE" });
      announce(`The upload ${name} is deleted.`);
      await this.load();
      this.summary.focus();
    } catch (error) {
      setTextOrHide(this.problem, error.message);
      announce(error.message);
    }
  }
}
