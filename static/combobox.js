// A text field that offers what it knows while one types (the combobox pattern of WAI-ARIA); any other text may be typed too.

import { element, newId, setAttributes } from "/static/elements.js";

const MOST = 50; // suggestions that are shown at once

export class Combobox {
  /** input: the text field, which is in the page already or will be. Choosing a suggestion fires its `change` event. */
  constructor(input) {
    this.input = input;
    this.suggestions = []; // { value, name, note }
    this.active = -1;
    this.list = element("ul", { role: "listbox", id: newId(), class: "suggestions", hidden: true, "aria-label": "Suggestions" });
    setAttributes(input, {
      role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": this.list.id,
      autocomplete: "off", spellcheck: "false", autocapitalize: "none",
    });
    this.element = element("div", { class: "combobox" }, input, this.list);
    input.addEventListener("input", () => this.open());
    input.addEventListener("click", () => this.open());
    input.addEventListener("keydown", (event) => this.press(event));
    input.addEventListener("blur", () => this.close());
    // Not click: the field would lose the focus before, and the list be gone.
    this.list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => this.choose(event.target.closest("li")));
  }

  /** Offer these from now on: { value: what the field gets, name: what is shown, note: what is said of it }. */
  offer(suggestions) {
    this.suggestions = suggestions;
    if (!this.list.hidden) this.open();
  }

  open() {
    const typed = this.input.value.trim().toLowerCase();
    const isChosen = this.suggestions.some((one) => one.value.toLowerCase() === typed);
    const fitting = this.suggestions.filter((one) => isChosen || `${one.name} ${one.value}`.toLowerCase().includes(typed));
    this.list.replaceChildren(...fitting.slice(0, MOST).map((one) => this.item(one)));
    this.list.hidden = fitting.length === 0;
    this.input.setAttribute("aria-expanded", String(!this.list.hidden));
    this.activate(-1);
  }

  close() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.activate(-1);
  }

  item({ value, name, note }) {
    const item = element("li", { role: "option", id: newId(), "aria-selected": "false" }, element("span", {}, name));
    if (note) item.append(element("span", { class: "note" }, note));
    item.dataset.value = value;
    return item;
  }

  activate(index) {
    this.list.children[this.active]?.setAttribute("aria-selected", "false");
    this.active = index;
    const item = this.list.children[index];
    item?.setAttribute("aria-selected", "true");
    item?.scrollIntoView({ block: "nearest" });
    setAttributes(this.input, { "aria-activedescendant": item?.id });
  }

  choose(item) {
    if (!item) return;
    this.input.value = item.dataset.value;
    this.close();
    this.input.dispatchEvent(new Event("change", { bubbles: true }));
  }

  press(event) {
    const count = this.list.children.length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (this.list.hidden) this.open();
      else if (count > 0) this.activate(moved(this.active, count, event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key === "Enter" && this.active >= 0) {
      event.preventDefault();
      this.choose(this.list.children[this.active]);
    } else if (event.key === "Escape" && !this.list.hidden) {
      event.preventDefault();
      this.close();
    }
  }
}

/** Return the next index, from -1 (none) on, in a circle. */
function moved(index, count, step) {
  if (index < 0) return step > 0 ? 0 : count - 1;
  return (index + step + count) % count;
}
