// @ts-check
// The parts of the page and their layout.

import { createMenu, h } from "./dom.js";
import { createEncoding } from "./encoding.js";
import { createExplanation } from "./explanation.js";
import { createHeads } from "./heads.js";
import { createEmpty, createHelp } from "./help.js";
import { createMaps } from "./maps.js";
import { createPlaces } from "./places.js";
import { createDetails, createText } from "./reading.js";
import { createScatter } from "./scatter.js";
import { createTimeline } from "./timeline.js";
import { createTraining } from "./training.js";

/** @typedef {import("./view.js").View} View */

/**
 * The user's actions on them.
 * @typedef {object} Actions
 * @property {(changes: Partial<View>) => Promise<void>} change
 * @property {(run: string | null) => void} compare
 * @property {(name: string, added: boolean) => void} choose
 * @property {() => void} chooseAll
 * @property {(position: number | null, beside: number | null) => void} hover
 * @property {(query: number, key: number) => void} hoverMap
 * @property {(position: number | null, second: boolean) => void} pin
 * @property {(query: number, key: number) => void} pinMap
 * @property {() => void} link
 * @property {(kind: "png" | "svg") => void} save
 */

/** @typedef {ReturnType<typeof createParts>} Parts */

/** @param {Actions} actions */
export function createParts({ change, compare, choose, chooseAll, hover, hoverMap, pin, pinMap, link, save }) {
  const help = createHelp();
  const sorted = h("input", { type: "checkbox", onchange: () => change({ sorted: sorted.checked }) });
  const parts = {
    alert: h("p", { className: "alert", role: "alert", hidden: true }),
    empty: createEmpty(),
    run: createMenu("Run", (run) => change({ run, step: null })),
    text: createMenu("Text", (tag) => change({ tag, position: null, beside: null })),
    other: createMenu("Compare with", (run) => compare(run || null)),
    metric: createMenu("Heads by", (metric) => change({ metric })),
    sorted,
    shows: createMenu("Grid shows", (shows) => change({ shows: /** @type {View["shows"]} */ (shows) })),
    measured: createMenu("Measured on", (sample) => change({ sample: sample === "true" })),
    chance: h("span", {
      className: "level",
      title: "chance: its value if every query attended evenly to all it sees",
    }),
    values: createMenu("Maps show", (values) => change({ values: values === "true" })),
    direction: createMenu("A character", (direction) =>
      change({ direction: /** @type {View["direction"]} */ (direction) }),
    ),
    timeline: createTimeline("Step", (step) => change({ step })),
    otherTimeline: createTimeline("Step of the second", (_, otherStep) => change({ otherStep })),
    heads: createHeads(choose),
    maps: createMaps(hoverMap, pinMap),
    note: h("p", { className: "note", "aria-live": "polite" }),
    characters: createText((position) => hover(position, null), pin),
    details: createDetails(),
    explanation: createExplanation(),
    training: createTraining(
      (step) => change({ step }),
      (heads, step) => change({ heads, step }),
    ),
    scatter: createScatter(choose, (against) => change({ against })),
    places: createPlaces(),
    encoding: createEncoding((columns) => change({ columns })),
    weights: h("a", { className: "button", download: "" }, "Weights (.npz)"),
    link: h("input", { type: "text", readOnly: true, hidden: true, size: 40, "aria-label": "Link to this view" }),
  };
  parts.values.element.title = "times the norm of what the key's value adds: a weight that carries nothing fades";
  const button = (/** @type {string} */ text, /** @type {() => void} */ onclick) =>
    h("button", { type: "button", onclick }, text);
  const row = (/** @type {(Node | string)[]} */ ...children) => h("div", { className: "row" }, ...children);
  const section = (/** @type {string} */ className, /** @type {string} */ label, /** @type {Node[]} */ ...children) =>
    h("section", { className, "aria-label": label }, ...children);

  const header = h(
    "header",
    {},
    row(
      ...[parts.run.element, parts.text.element, parts.other.element, h("span", { className: "space" })],
      ...[button("Link", link), parts.link, button("PNG", () => save("png")), button("SVG", () => save("svg"))],
      ...[parts.weights, button("Help", () => help.showModal())],
    ),
    parts.timeline.element,
    parts.otherTimeline.element,
  );
  const order = h("label", {}, sorted, "sorted");
  const main = h(
    "main",
    {},
    section(
      "left",
      "All heads",
      row(
        ...[parts.metric.element, order, button("All heads", chooseAll)],
        ...[parts.shows.element, parts.measured.element, parts.chance],
      ),
      parts.heads.element,
    ),
    section(
      "middle",
      "The chosen heads",
      row(parts.values.element, parts.direction.element, parts.note),
      ...parts.maps.elements,
    ),
    section("details", "The character", parts.details.element),
    section("reading", "The text", parts.characters.element),
  );
  const curves = section("", "Curves", h("h2", {}, "Over training"), ...parts.training.elements);
  const scatter = section("", "Two metrics", h("h2", {}, "Two metrics of all heads"), parts.scatter.element);
  const measures = h("div", { className: "measures" }, curves, scatter);
  const places = section("", "Places", h("h2", {}, "Where the head looks most decidedly"), parts.places.element);
  const encodings = section("", "Positions", h("h2", {}, "Positional encoding"), parts.encoding.element);
  const why = section("", "Why", parts.explanation.element);
  const page = h("div", { className: "page", hidden: true }, header, main, why, measures, places, encodings);
  const element = h("div", { className: "tab" }, parts.alert, parts.empty, page, help);
  return { ...parts, main, curves, encodings, page, element };
}
