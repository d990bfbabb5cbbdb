// @ts-check
// The maps of the chosen heads: one, or two and their difference.

import { difference, differenceLevels, sameText, weightLevels } from "./attention.js";
import { css } from "./colour.js";
import { h } from "./dom.js";
import { createMap } from "./map.js";

/** @typedef {import("./colour.js").Scale} Scale */
/** @typedef {import("./attention.js").Direction} Direction */
/** @typedef {import("./reading.js").HeadMap} HeadMap */
/** @typedef {{weights: Scale, differences: Scale, losses: Scale}} Scales */
/** @typedef {{what: string, scale: Scale, marks: string[]}} Legend marks from the low end to the high one */
/** `linked`: of the text that the page shows. @typedef {ReturnType<typeof createMap> & {legend: Legend, linked: boolean}} Shown */

export const LARGEST_LOSS = 6; // nats; larger losses get the last colour

/**
 * @param {(query: number, key: number) => void} hovered
 * @param {(query: number, key: number) => void} clicked
 */
export function createMaps(hovered, clicked) {
  /** @type {Shown[]} */
  let shown = [];
  const maps = Array.from({ length: 3 }, (_, i) => {
    const ifLinked =
      (/** @type {typeof hovered} */ callback) => (/** @type {number} */ query, /** @type {number} */ key) => {
        if (shown.find(({ element }) => element === maps[i].element)?.linked) callback(query, key);
      };
    return createMap(ifLinked(hovered), ifLinked(clicked));
  });
  const figures = h("div", { className: "maps" });
  const legends = h("div", { className: "legends" });

  return {
    elements: [figures, legends],
    shown: () => shown,
    /**
     * @param {HeadMap[]} headMaps
     * @param {Scales} scales
     * @param {string} what they show
     * @param {number} most the number with the last colour
     */
    draw(headMaps, { weights, differences, losses }, what, most) {
      const marks = (/** @type {number[]} */ ...shares) => shares.map((share) => short(share * most)); // by the root
      const ofWeights = { what, scale: weights, marks: marks(0, 0.0625, 0.25, 0.5625, 1) };
      const ofDifferences = { what: "difference", scale: differences, marks: marks(-1, -0.25, 0, 0.25, 1) };
      const ofLosses = {
        what: "loss, below the text",
        scale: losses,
        marks: ["0", `${LARGEST_LOSS / 2}`, `${LARGEST_LOSS} nats`],
      };
      const linked = headMaps.map(({ snapshot }) => sameText(snapshot, headMaps[0].snapshot));
      shown = headMaps.flatMap(({ title, snapshot, map, effect }, i) => {
        if (!map) return [];
        maps[i].draw(title, snapshot.tokens, weightLevels(map, most), weights, effect);
        return [{ ...maps[i], legend: ofWeights, linked: linked[i] }];
      });
      const [first, second] = headMaps;
      if (first.map && second?.map && linked[1]) {
        const levels = differenceLevels(difference(first.map, second.map), most);
        maps[2].draw("first − second", first.snapshot.tokens, levels, differences);
        shown.push({ ...maps[2], legend: ofDifferences, linked: true });
      }
      figures.replaceChildren(...shown.map(({ element }) => element));
      legends.replaceChildren(...[ofWeights, ...(second ? [ofDifferences] : []), ofLosses].map(createLegend));
    },
    /**
     * @param {number | null} position
     * @param {number | null} beside
     * @param {Direction} direction
     */
    mark(position, beside, direction) {
      for (const map of shown) map.mark(map.linked ? position : null, beside, direction);
    },
  };
}

/** @param {number} number */
const short = (number) => String(Number(number.toPrecision(2))).replace("-", "−");

/** A strip of all colours of a scale, with its numbers. @param {Legend} legend */
export function createLegend({ what, scale, marks }) {
  const strip = h("span", { className: "strip" });
  strip.style.background = `linear-gradient(to right, ${colours(scale, 17).join(", ")})`;
  const numbers = h("span", { className: "marks" }, ...marks.map((mark) => h("span", {}, mark)));
  return h("div", { className: "legend" }, h("span", {}, what), h("span", { className: "ruler" }, strip, numbers));
}

/**
 * @param {Scale} scale
 * @param {number} count
 */
export const colours = (scale, count) => Array.from({ length: count }, (_, i) => css(scale, i / (count - 1)));
