// @ts-check
// Metrics of the heads of a side: on its text, or on the sample of the validation split. Pure.

import { FIRST, TAG } from "./format.js";

/** @typedef {import("./gather.js").Side} Side */
/** @typedef {import("./view.js").View} View */

export const ABLATION = "ablation";
const NO_SCORES = new Set(["entropy", "distance", ABLATION]); // of which little is not less than much

/**
 * A metric of all heads, and what it is by chance (NaN if unknown); null if it was not measured there.
 * @param {Side} side
 * @param {string} metric
 * @param {boolean} sample
 * @returns {{values: Float32Array, chance: number} | null}
 */
export function metricOf({ tag, snapshot, measured }, metric, sample) {
  const statistics = measured?.statistics;
  const ablation = metric === ABLATION && !sample && statistics?.ablations.get(tag.slice(TAG.length));
  const from = sample ? statistics : snapshot;
  const values = ablation || from?.metrics.get(metric);
  return values ? { values, chance: from?.chance.get(metric) ?? Number.NaN } : null;
}

/**
 * Whether a metric is known of the text (false), and of the sample (true).
 * @param {Side} side
 * @param {string} metric
 */
export const placesOf = (side, metric) => [false, true].filter((sample) => metricOf(side, metric, sample));

/**
 * Whether a head scores no better than one that attends evenly.
 * @param {string} metric
 * @param {number} value
 * @param {number} chance
 */
export const atChance = (metric, value, chance) => !NO_SCORES.has(metric) && value <= chance;

/**
 * A change of the loss in nats.
 * @param {number} change
 */
export function rise(change) {
  const rounded = Number(change.toFixed(3));
  const sign = rounded < 0 ? "−" : rounded > 0 ? "+" : "";
  return sign + Math.abs(rounded).toFixed(3);
}

/**
 * The chance level of the view's metric, and the step at which it was measured if that is not the side's own.
 * @param {Side} side
 * @param {View} view
 */
export function aboutMetric(side, { metric, sample }) {
  const found = metricOf(side, metric, sample);
  if (!found) return metric === "" ? "" : "measured at evaluations";
  const chance = Number.isFinite(found.chance) ? [`chance ${found.chance.toFixed(2)}`] : [];
  const step = sample || metric === ABLATION ? [`at step ${side.measured?.step}`] : [];
  return [...chance, ...step].join(", ");
}

/**
 * The text that the curves of a metric are of, if it is another than what the grid shows.
 * @param {Side} side
 * @param {View} view
 */
export function aboutCurves({ tag }, { metric, sample }) {
  if (metric === ABLATION) return sample ? "" : ", of the sample";
  return sample || tag !== FIRST ? ", of the first text" : "";
}

/**
 * The change of the loss when the head is switched off, in words; nothing for several heads or a missing one.
 * @param {Side} side
 * @param {number[]} heads
 */
export function effectOf(side, [head, ...others]) {
  if (others.length > 0 || head < 0 || !side.metrics.includes(ABLATION)) return "";
  const found = placesOf(side, ABLATION).map((sample) => {
    const change = rise(metricOf(side, ABLATION, sample)?.values[head] ?? Number.NaN);
    return `${change} nats on ${sample ? "the validation sample" : "this text"}`;
  });
  return `switched off: ${found.length > 0 ? `${found.join(", ")}, at step ${side.measured?.step}` : "measured at evaluations"}`;
}
