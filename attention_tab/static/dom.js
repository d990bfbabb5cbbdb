// @ts-check
// Shorthand for DOM elements. Text only ever becomes text nodes, so that no corpus can inject markup.

/**
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, unknown>} [properties] of the element; those with a dash are attributes
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") element.setAttribute(key, String(value));
    else Reflect.set(element, key, value);
  }
  element.append(...children);
  return element;
}

/**
 * @template {keyof SVGElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, string | number>} [attributes]
 * @param {...(Node | string)} children
 * @returns {SVGElementTagNameMap[Name]}
 */
export function s(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

/**
 * A part of a drawing that works as a button, and is named where it is pointed at.
 * @param {string} label
 * @param {Record<string, string | number>} attributes
 * @param {(event: MouseEvent | KeyboardEvent) => void} pressed
 * @param {...SVGElement} children
 */
export function drawnButton(label, attributes, pressed, ...children) {
  const named = { role: "button", tabindex: 0, "aria-label": label, ...attributes };
  const element = s("g", named, s("title", {}, label), ...children);
  element.addEventListener("click", pressed);
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    pressed(event);
  });
  return element;
}

/** A labelled drop-down menu. @param {string} label @param {(value: string) => void} chosen */
export function createMenu(label, chosen) {
  const select = h("select", { onchange: () => chosen(select.value), "aria-label": label });
  /** @param {[value: string, text: string][]} options @param {string} value */
  function show(options, value) {
    const shown = [...select.options].map((option) => [option.value, option.text]);
    if (JSON.stringify(shown) !== JSON.stringify(options))
      select.replaceChildren(...options.map(([v, text]) => h("option", { value: v }, text)));
    select.value = value;
  }
  return { element: h("label", {}, h("span", {}, label), select), show };
}

/** @param {unknown} error */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error));
