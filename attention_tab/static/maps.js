// @ts-check
// The maps of the chosen heads: one, or two and their difference.

import { difference, differenceLevels, sameText, weightLevels } from "./attention.js";
import { css } from "./colour.js";
import { h } from "./dom.js";
import { createMap } from "./map.js";

/** @typedef {import("./colour.js").Scale} Scale */
/** @typedef {import("./map.js").Pointed} Pointed */
/** @typedef {{what: string, scale: Scale, marks: string[]}} Legend marks from the low end to the high one */
/** @typedef {ReturnType<typeof createMap> & {legend: Legend}} Shown */

export const LARGEST_LOSS = 6; // nats; larger losses get the last colour
const OF_LOSSES = { what: "loss, below the text", marks: ["0", `${LARGEST_LOSS / 2}`, `${LARGEST_LOSS} nats`] };

/** @param {Pointed} hovered @param {Pointed} clicked */
export function createMaps(hovered, clicked) {
  /** @type {Shown[]} */
  let shown = [];
  const linked = [true, false, true]; // those of the text that the page shows
  const maps = linked.map((_, i) => {
    const ifLinked = (/** @type {Pointed} */ callback) => (/** @type {number} */ query, /** @type {number} */ key) =>
      linked[i] && callback(query, key);
    return createMap(ifLinked(hovered), ifLinked(clicked));
  });
  const figures = h("div", { className: "maps" });
  const legends = h("div", { className: "legends" });

  return {
    elements: [figures, legends],
    shown: () => shown,
    /**
     * @param {import("./reading.js").HeadMap[]} headMaps
     * @param {{weights: Scale, differences: Scale, losses: Scale}} scales
     * @param {string} what they show
     * @param {number} most the number with the last colour
     */
    draw(headMaps, { weights, differences, losses }, what, most) {
      const marks = (/** @type {number[]} */ ...shares) => shares.map((share) => short(share * most)); // by the root
      const ofWeights = { what, scale: weights, marks: marks(0, 0.0625, 0.25, 0.5625, 1) };
      const ofDifferences = { what: "difference", scale: differences, marks: marks(-1, -0.25, 0, 0.25, 1) };
      const [first, second] = headMaps;
      linked[1] = second !== undefined && sameText(second.snapshot, first.snapshot);
      shown = headMaps.flatMap(({ title, snapshot, map, effect }, i) => {
        if (!map) return [];
        maps[i].draw(title, snapshot.tokens, weightLevels(map, most), weights, effect);
        return [{ ...maps[i], legend: ofWeights }];
      });
      if (first.map && second?.map && linked[1]) {
        const levels = differenceLevels(difference(first.map, second.map), most);
        maps[2].draw("first − second", first.snapshot.tokens, levels, differences);
        shown.push({ ...maps[2], legend: ofDifferences });
      }
      figures.replaceChildren(...shown.map(({ element }) => element));
      const named = [ofWeights, ...(second ? [ofDifferences] : []), { ...OF_LOSSES, scale: losses }];
      legends.replaceChildren(...named.map(createLegend));
    },
    /**
     * @param {number | null} position
     * @param {number | null} beside
     * @param {import("./attention.js").Direction} direction
     */
    mark(position, beside, direction) {
      for (const [i, map] of maps.entries()) map.mark(linked[i] ? position : null, beside, direction);
    },
  };
}

/** @param {number} number */
const short = (number) => String(Number(number.toPrecision(2))).replace("-", "−");

/** A strip of all colours of a scale, with its numbers. @param {Legend} legend */
export function createLegend({ what, scale, marks }) {
  const style = `background: linear-gradient(to right, ${colours(scale, 17).join(", ")})`;
  const strip = h("span", { className: "strip", style });
  const numbers = h("span", { className: "marks" }, ...marks.map((mark) => h("span", {}, mark)));
  return h("div", { className: "legend" }, h("span", {}, what), h("span", { className: "ruler" }, strip, numbers));
}

/** @param {Scale} scale @param {number} count */
export const colours = (scale, count) => Array.from({ length: count }, (_, i) => css(scale, i / (count - 1)));
