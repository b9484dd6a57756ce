"""What can be measured of a page as a person meets it: names of controls, contrast, widths, sizes of what is touched."""

from typing import Any

_CONTROLS = {
    "button", "link", "textbox", "searchbox", "checkbox", "radio", "combobox", "listbox", "option", "progressbar", "switch",
    "dialog", "spinbutton", "menuitem", "DisclosureTriangle", "PopUpButton",
}  # fmt: skip
"""Roles in the accessibility tree that a person has to know the name of."""

_MEASURES = """
(() => {
  const channels = text => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { rgb: [r, g, b], a }; };
  const over = (top, below) => top.rgb.map((value, i) => value * top.a + below[i] * (1 - top.a));
  const background = element => {
    if (!element) return matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
    const own = channels(getComputedStyle(element).backgroundColor);
    return own.a === 1 ? own.rgb : over(own, background(element.parentElement));
  };
  const luminance = rgb => {
    const [r, g, b] = rgb.map(v => v / 255).map(v => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const seen = element => element.checkVisibility({ visibilityProperty: true, opacityProperty: true })
    && !element.closest(".unseen, .skip");
  const called = element => element.tagName.toLowerCase() + "." + [...element.classList].join(".") + " " + JSON.stringify(
    (element.textContent || element.value || "").trim().slice(0, 40));
  const textOf = (element, pseudo) => {
    const style = getComputedStyle(element, pseudo), below = background(element);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
    const stands = ratio(over(channels(style.color), below), below);
    return { what: called(element) + (pseudo ?? ""), ratio: stands, least: large ? 3 : 4.5 };
  };
  window.glassinePage = {
    texts: () => {
      const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const element = node.parentElement;
        if (!node.data.trim() || !seen(element) || element.matches("script, style, template, option, noscript")) continue;
        found.push(textOf(element));
      }
      for (const field of document.querySelectorAll("input, select, textarea")) {
        if (!seen(field) || field.matches("[type=checkbox], [type=radio]")) continue;
        found.push(textOf(field));
        if (field.placeholder) found.push(textOf(field, "::placeholder"));
      }
      return found;
    },
    edges: () => [...document.querySelectorAll("button, .button, input, select, textarea")].filter(seen)
      .filter(control => !control.matches(".plain, [type=checkbox], [type=radio]")).map(control => {
        const style = getComputedStyle(control), behind = background(control.parentElement);
        return { what: called(control), ratio: Math.max(
          ratio(over(channels(style.borderTopColor), behind), behind), ratio(background(control), behind)) };
      }),
    overflow: () => {
      const width = document.documentElement.clientWidth;
      if (document.documentElement.scrollWidth <= width) return [];
      return [...document.body.querySelectorAll("*")].filter(seen)
        .filter(element => element.getBoundingClientRect().right > width + 0.5).map(called);
    },
    targets: () => [...document.querySelectorAll("a[href], button, input, select, textarea, summary")].filter(seen)
      .filter(target => !target.matches("[aria-hidden]")).map(target => {
        const label = target.matches("[type=checkbox], [type=radio]") ? target.closest("label") ?? target.labels[0] : null;
        const box = (label ?? target).getBoundingClientRect();
        return { what: called(target), width: box.width, height: box.height };
      }),
    headings: () =>
      [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].filter(seen).map(heading => Number(heading.tagName[1])),
    focused: () => {
      const element = document.activeElement, marks = [element, element.nextElementSibling].filter(Boolean);
      const styles = marks.map(mark => getComputedStyle(mark));
      const outlined = styles.some(style => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2);
      const box = element.getBoundingClientRect();
      return { what: called(element), outlined, inView: box.bottom > 0 && box.top < innerHeight };
    },
  };
})();
"""
"""Text has to stand out by 4.5 to 1, large text by 3 to 1 (WCAG 2.2, 1.4.3), edges of controls by 3 to 1 (1.4.11)."""


def watch(context: Any) -> None:
    """Have the measures in every page that the context opens from now on."""
    context.add_init_script(_MEASURES)


def faint_texts(page: Any) -> list[str]:
    """Return the texts that do not stand out enough from what is behind them."""
    return [f"{found['what']} {found['ratio']:.2f}" for found in _ask(page, "texts") if found["ratio"] < found["least"]]


def faint_edges(page: Any) -> list[str]:
    """Return the controls that do not stand out enough from what is behind them."""
    return [f"{found['what']} {found['ratio']:.2f}" for found in _ask(page, "edges") if found["ratio"] < 3]


def too_wide(page: Any) -> list[str]:
    """Return what makes the page scroll sideways; nothing when it does not."""
    return list(_ask(page, "overflow"))


def small_targets(page: Any, pixels: float) -> list[str]:
    """Return what can be touched and is smaller than so many CSS pixels in height or width."""
    return [str(found) for found in _ask(page, "targets") if min(found["width"], found["height"]) < pixels]


def focused(page: Any) -> dict[str, Any]:
    """Return what has the focus, whether it has a visible outline, and whether it is in view."""
    return dict(_ask(page, "focused"))


def nameless_controls(page: Any) -> list[str]:
    """Return the controls that a screen reader finds no name for."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    controls = [node for node in nodes if not node["ignored"] and node.get("role", {}).get("value") in _CONTROLS]
    assert controls
    return [str(node["role"]["value"]) for node in controls if not node.get("name", {}).get("value", "").strip()]


def heading_levels(page: Any) -> list[int]:
    """Return the levels of the headings that are shown, in their order."""
    return list(_ask(page, "headings"))


def _ask(page: Any, measure: str) -> Any:
    return page.evaluate(f"glassinePage.{measure}()")
