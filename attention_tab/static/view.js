// @ts-check
// What the user has chosen to look at, and the link that reopens it. Pure.

/**
 * @typedef {object} View
 * @property {string | null} run null: the newest
 * @property {string | null} tag of the text; null: the first
 * @property {number | null} step null: the latest, and those that come
 * @property {string | null} otherRun to compare with
 * @property {number | null} otherStep null: the same step, or the nearest there is
 * @property {"first" | "second" | "difference"} shows of two that are compared, in the grid
 * @property {string[]} heads layer.head of each that is chosen; of several the mean is shown
 * @property {string} metric
 * @property {boolean} sorted heads by the metric
 * @property {import("./attention.js").Direction} direction
 * @property {number | null} place the character that is pinned
 * @property {number[]} columns of the positional encoding that are drawn as curves
 */

const PREFIX = "p.attention."; // where TensorBoard's own address keeps what belongs to a plugin

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
    place: null,
    columns: [0, 1, 8, 9],
  };
}

/**
 * What an address says; whatever it does not say, or says wrongly, is as at first.
 * @param {string} hash of the address, from its # on
 * @returns {View}
 */
export function viewOf(hash) {
  const view = initialView();
  const said = new URLSearchParams(hash.replace(/^#[^&]*&?/, ""));
  const text = (/** @type {string} */ name) => said.get(PREFIX + name);
  const whole = (/** @type {string} */ name) => (/^\d{1,15}$/.test(text(name) ?? "") ? Number(text(name)) : null);
  view.run = text("run");
  view.tag = text("tag");
  view.step = whole("step");
  view.otherRun = text("otherRun");
  view.otherStep = whole("otherStep");
  view.place = whole("place");
  view.metric = text("metric") ?? view.metric;
  view.sorted = text("sorted") === "true";
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
 * @param {View} view
 * @returns {string} a hash from which `viewOf` makes the same view
 */
export function hashOf(view) {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(view)) if (value !== null) said.set(PREFIX + name, String(value));
  return `#attention&${said}`;
}
