// @ts-check
// What is outside the frame: TensorBoard's address and its theme, where they may be asked.

/** @typedef {import("./colour.js").Theme} Theme */

/** The address that a user sees and shares. */
export function outerLocation() {
  try {
    return window.parent.location.href ? window.parent.location : window.location;
  } catch {
    return window.location; // the page around is of other origin, as in some notebooks
  }
}

/**
 * Light or dark as TensorBoard is, now and whenever it changes; as the system is, where TensorBoard cannot be asked.
 * @param {(theme: Theme) => void} told
 */
export function followTheme(told) {
  const outer = outerBody();
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const tell = () => told((outer ? outer.classList.contains("dark-mode") : system.matches) ? "dark" : "light");
  if (outer) new MutationObserver(tell).observe(outer, { attributeFilter: ["class"] });
  else system.addEventListener("change", tell);
  tell();
}

function outerBody() {
  try {
    return window.parent === window ? null : window.parent.document.body;
  } catch {
    return null;
  }
}

/**
 * Whether TensorBoard shows another tab, or the browser another page.
 */
export function isHidden() {
  return document.hidden || frame()?.checkVisibility?.({ visibilityProperty: true }) === false;
}

/**
 * A link to a view that is opened in a page that is open already changes its hash alone.
 * @param {(hash: string) => void} told
 */
export function onOuterHash(told) {
  const changed = () => {
    const { hash } = outerLocation();
    if (hash.includes("p.attention.")) told(hash);
  };
  try {
    window.parent.addEventListener("hashchange", changed);
  } catch {
    // a page of other origin
  }
}

function frame() {
  try {
    return window.frameElement;
  } catch {
    return null;
  }
}
