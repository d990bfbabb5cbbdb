// @ts-check
// The options of each menu, and their names. Pure.

import { runNames, textName, textsOf } from "./gather.js";
import { titleOf } from "./help.js";
import { placesOf, sampledSplit } from "./measured.js";

/** @typedef {import("./gather.js").Side} Side */
/** @typedef {[value: string, text: string]} Option */

export const PRODUCT = "weights × value norm";

/**
 * @param {import("./client.js").Runs} runs
 * @param {Side} first
 * @param {string} metric
 * @returns {Record<"run" | "text" | "other" | "metric" | "measured" | "direction" | "values" | "shows", Option[]>}
 */
export function optionsOf(runs, first, metric) {
  const names = runNames(runs);
  return {
    run: names.map((name) => [name, name]),
    text: textsOf(runs[first.run]).map((tag) => [tag, textName(tag)]),
    other: ["", ...names].map((name) => [name, name === first.run ? "another step of this run" : name || "nothing"]),
    metric: first.metrics.map((name) => [name, titleOf(name)]),
    measured: placesOf(first, metric).map((sample) => [
      String(sample),
      sample ? `the ${sampledSplit(first)} sample` : "this text",
    ]),
    direction: Object.entries({ from: "attends to", to: "is attended to by" }),
    values: Object.entries({ false: "weights", true: PRODUCT }),
    shows: Object.entries({ first: "first", second: "second", difference: "first − second" }),
  };
}

/** @param {string[]} heads */
export const headsLabel = (heads) => (heads.length === 1 ? `head ${heads[0]}` : `mean of ${heads.length} heads`);

/** The side's name: what distinguishes it from the other. @param {Side[]} sides @param {number} side */
export function sideLabel(sides, side) {
  const { run, tag, step } = sides[side];
  const runs = sides.some((other) => other.run !== run) ? [run] : [];
  const texts = sides.some((other) => other.tag !== tag) ? [textName(tag)] : [];
  return [...runs, ...texts, `step ${step}`].join(", ");
}

/** @param {Side} side */
export const fullLabel = ({ run, tag, step }) => `${run}, ${textName(tag)}, step ${step}`;

/**
 * The curves of all heads of the first side, and of the selected heads of the other.
 * @param {import("./client.js").Curves[]} curves
 * @param {Side[]} sides
 * @param {import("./view.js").View} view
 * @param {(i: number) => string} colour of the selected heads
 * @returns {import("./curves.js").Line[]} the selected ones last, drawn over the others
 */
export function linesOf(curves, sides, view, colour) {
  const lines = curves.flatMap((of, side) =>
    of.map(({ layer, head, points }) => {
      const chosen = view.heads.indexOf(`${layer}.${head}`);
      const whose = sides.length > 1 ? `${sides[side].run}, ` : "";
      const name = `${whose}head ${layer}.${head}`;
      return { name, points, dashed: side > 0, ...(chosen >= 0 ? { strong: true, colour: colour(chosen) } : {}) };
    }),
  );
  const other = sides[1]?.run !== sides[0].run; // one run's curves are not drawn twice
  return lines
    .filter(({ strong, dashed }) => !dashed || (strong && other))
    .sort((a, b) => Number(a.strong ?? false) - Number(b.strong ?? false));
}
