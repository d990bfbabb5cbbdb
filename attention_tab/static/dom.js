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

/**
 * Act on arrow keys, of which those with Alt, Control or Meta are the browser's.
 * @param {GlobalEventHandlers} element
 * @param {(right: number, down: number, event: KeyboardEvent) => void} moved
 */
export function onArrows(element, moved) {
  const moves = new Map(
    Object.entries({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }),
  );
  element.addEventListener("keydown", (event) => {
    const move = moves.get(event.key);
    if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    moved(move[0], move[1], event);
  });
}

/** Whether a click chooses something besides what is chosen already. @param {MouseEvent | KeyboardEvent} event */
export const isAdding = (event) => event.ctrlKey || event.metaKey || event.shiftKey;
