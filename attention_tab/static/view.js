// @ts-check
// The user's choices, and the link that reopens them. Pure.

/**
 * @typedef {object} View
 * @property {string | null} run null: the newest
 * @property {string | null} tag of the text; null: the first
 * @property {number | null} step null: follow the latest
 * @property {string | null} otherRun to compare with
 * @property {number | null} otherStep null: the same step, or the nearest there is
 * @property {"first" | "second" | "difference"} shows of two that are compared, in the grid
 * @property {string[]} heads layer.head of each chosen head; of several the mean is shown
 * @property {string} metric
 * @property {boolean} sorted heads by the metric
 * @property {import("./attention.js").Direction} direction
 * @property {number | null} position of the pinned character
 * @property {number | null} beside it, the other position of a pinned pair
 * @property {boolean} values whether weights are shown times the norm of what the value adds to the stream
 * @property {boolean} sample whether head metrics are those of the validation sample, not of the text
 * @property {string} against the metric that the scatter plot shows against the other
 * @property {number[]} columns of the positional encoding drawn as curves
 */

const PREFIX = "p.attention."; // TensorBoard's prefix for a plugin's parameters in its address

/** @returns {View} */
export function initialView() {
  return {
    run: null,
    tag: null,
    step: null,
    otherRun: null,
    otherStep: null,
    shows: "first",
    heads: ["1.1"],
    metric: "previous",
    sorted: false,
    direction: "from",
    position: null,
    beside: null,
    values: false,
    sample: false,
    against: "entropy",
    columns: [0, 1, 8, 9],
  };
}

/**
 * The view of an address; what is missing or invalid in it is as in the initial view.
 * @param {string} hash of the address, from its # on
 * @returns {View}
 */
export function viewOf(hash) {
  const view = initialView();
  const params = new URLSearchParams(hash.replace(/^#[^&]*&?/, ""));
  const text = (/** @type {string} */ name) => params.get(PREFIX + name);
  const whole = (/** @type {string} */ name) => (/^\d{1,15}$/.test(text(name) ?? "") ? Number(text(name)) : null);
  for (const name of /** @type {const} */ (["run", "tag", "otherRun"])) view[name] = text(name);
  for (const name of /** @type {const} */ (["step", "otherStep", "position", "beside"])) view[name] = whole(name);
  for (const name of /** @type {const} */ (["metric", "against"])) view[name] = text(name) ?? view[name];
  for (const name of /** @type {const} */ (["sorted", "values", "sample"])) view[name] = text(name) === "true";
  const shows = text("shows");
  if (shows === "second" || shows === "difference") view.shows = shows;
  if (text("direction") === "to") view.direction = "to";
  const heads = (text("heads") ?? "").split(",").filter((head) => /^\d{1,3}\.\d{1,3}$/.test(head));
  if (heads.length > 0) view.heads = [...new Set(heads)];
  const columns = text("columns");
  const numbers = (columns ?? "").split(",").filter((n) => /^\d{1,5}$/.test(n));
  if (columns === "" || numbers.length > 0) view.columns = numbers.map(Number);
  return view;
}

/**
 * The view with the positions of its pinned pair in order: a query is no earlier than its key.
 * @template {Pick<View, "position" | "beside" | "direction">} Pinned
 * @param {Pinned} view
 * @returns {Pinned}
 */
export function paired(view) {
  const { position, beside, direction } = view;
  if (position === null || beside === null) return { ...view, beside: null };
  const [key, query] = [Math.min(position, beside), Math.max(position, beside)];
  return direction === "from" ? { ...view, position: query, beside: key } : { ...view, position: key, beside: query };
}

/** @param {View} view @returns {string} a hash; `viewOf` is the inverse */
export function hashOf(view) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(view)) if (value !== null) params.set(PREFIX + name, String(value));
  return `#attention&${params}`;
}
