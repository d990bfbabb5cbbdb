// @ts-check
// Outside the frame: TensorBoard's address and theme, if they can be read.

/** @typedef {import("./colour.js").Theme} Theme */

/**
 * Null where the outer page is of another origin, as in some notebooks.
 * @template Found
 * @param {() => Found} read
 */
function ifReadable(read) {
  try {
    return read();
  } catch {
    return null;
  }
}

/** The address in the browser's address bar. */
export function outerLocation() {
  return ifReadable(() => (window.parent.location.href ? window.parent.location : null)) ?? window.location;
}

/** Dark bodies: TensorBoard's, Jupyter's, VS Code's, Colab's. */
const DARK =
  '.dark-mode, [data-jp-theme-light="false"], .vscode-dark, .vscode-high-contrast:not(.vscode-high-contrast-light), [theme="dark"] > body';

/**
 * TensorBoard's or the notebook's theme, now and whenever it changes; the system's, if that cannot be read.
 * @param {(theme: Theme) => void} callback
 */
export function followTheme(callback) {
  const outer = ifReadable(() => (window.parent === window ? null : window.parent.document.body));
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const notify = () => callback((outer ? outer.matches(DARK) : system.matches) ? "dark" : "light");
  if (outer) new MutationObserver(notify).observe(outer, { attributeFilter: ["class", "data-jp-theme-light"] });
  else system.addEventListener("change", notify);
  notify();
}

/** The document that saves files: Firefox silently refuses to save a blob from within a frame. */
export const outerDocument = () => ifReadable(() => window.parent.document) ?? document;

/** Whether TensorBoard shows another tab, or the browser another page. */
export function isHidden() {
  const frame = ifReadable(() => window.frameElement);
  return document.hidden || frame?.checkVisibility?.({ visibilityProperty: true }) === false;
}

/**
 * Opening a link to a view in a page that is already open changes only its hash.
 * @param {(hash: string) => void} callback
 */
export function onOuterHash(callback) {
  const changed = () => {
    const { hash } = outerLocation();
    if (hash.includes("p.attention.")) callback(hash);
  };
  ifReadable(() => window.parent.addEventListener("hashchange", changed));
}

/** Coming back to the tab, or to the browser's page. @param {() => void} callback */
export function onShown(callback) {
  const changed = () => isHidden() || callback();
  document.addEventListener("visibilitychange", changed);
  const frame = ifReadable(() => window.frameElement);
  if (frame) new MutationObserver(changed).observe(frame, { attributeFilter: ["style"] }); // by which TensorBoard hides it
}
