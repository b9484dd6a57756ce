// Elements of the page, made of tags, attributes and text. Text stays text whatever is in it: nothing here reads HTML.

/** Return a new element. attributes: true for an empty one; false, null and undefined for none. children: elements and text. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  setAttributes(made, attributes);
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Set, and where the value is false, null or undefined remove, attributes of an element. */
export function setAttributes(changed, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) changed.removeAttribute(name);
    else changed.setAttribute(name, value === true ? "" : value);
  }
}

/** Return the element of the page with this id. */
export const byId = (id) => document.getElementById(id);

/** Return a copy of what is in the template with this id. */
export const fromTemplate = (id) => byId(id).content.firstElementChild.cloneNode(true);

/** Give an element this text, without touching it when it has it already: a screen reader would read it again. */
export function setText(changed, text) {
  if (changed.textContent !== text) changed.textContent = text;
}

/** Show text in an element, and hide the element when there is none. */
export function setTextOrHide(changed, text) {
  setText(changed, text ?? "");
  changed.hidden = !text;
}

/** Replace the children of an element by others, in this order; one that stays in its place keeps the focus. */
export function setChildren(parent, children) {
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  children.forEach((child, index) => {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
}

let made = 0;

/** Return an id that no element has. */
export const newId = () => `made-${(made += 1)}`;
