// @ts-check
// One number for each head, of the text shown or of the validation sample, and what it says in words. Pure.

import { FIRST, TAG } from "./format.js";

/** @typedef {import("./gather.js").Side} Side */
/** @typedef {import("./view.js").View} View */

export const ABLATION = "ablation"; // is in no snapshot: it costs a pass for each head, and is measured at evaluations
const NO_SCORES = new Set(["entropy", "distance", ABLATION]); // of which little is not less than much

/**
 * The metric of every head, or null where it was not measured.
 * @param {Side} side
 * @param {string} metric
 * @param {boolean} sample whether of the validation sample, not of the side's text
 */
export function valuesOf({ tag, snapshot, measured }, metric, sample) {
  const { metrics, ablations } = measured?.statistics ?? {};
  const ofText = metric === ABLATION ? ablations?.get(tag.slice(TAG.length)) : snapshot.metrics.get(metric);
  return (sample ? metrics?.get(metric) : ofText) ?? null;
}

/**
 * The metric of a head whose queries all attend evenly; NaN if unknown.
 * @param {Side} side
 * @param {string} metric
 * @param {boolean} sample
 */
export const chanceOf = ({ snapshot, measured }, metric, sample) =>
  (sample ? measured?.statistics : snapshot)?.chance.get(metric) ?? Number.NaN;

/** The names of the metrics that `valuesOf` knows. @param {Side} side @param {boolean} sample */
export const metricsOf = (side, sample) =>
  sample
    ? [...(side.measured?.statistics.metrics.keys() ?? [])]
    : [...side.snapshot.metrics.keys(), ...(valuesOf(side, ABLATION, false) ? [ABLATION] : [])];

/** Whether a metric is known of the text (false), and of the sample (true). @param {Side} side @param {string} metric */
export const placesOf = (side, metric) => [false, true].filter((sample) => valuesOf(side, metric, sample));

/**
 * Whether a head scores no better than one that attends evenly.
 * @param {string} metric
 * @param {number} value
 * @param {number} chance
 */
export const atChance = (metric, value, chance) => !NO_SCORES.has(metric) && value <= chance;

/** A change of the loss in nats. @param {number} change */
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
  const values = valuesOf(side, metric, sample);
  if (!values) return metric === "" ? "" : "measured at evaluations";
  if (!values.some(Number.isFinite)) return `no value in ${sample ? "the sample" : "this text"}`;
  const level = chanceOf(side, metric, sample);
  const chance = Number.isFinite(level) ? [`chance ${level.toFixed(2)}`] : [];
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
    const change = valuesOf(side, ABLATION, sample)?.[head] ?? Number.NaN;
    return `${Number.isFinite(change) ? `${rise(change)} nats` : "no value"} on ${sample ? `the ${sampledSplit(side)} sample` : "this text"}`;
  });
  return `switched off: ${found.length > 0 ? `${found.join(", ")}, at step ${side.measured?.step}` : "measured at evaluations"}`;
}

/** The split that the sample is of: training where there is no validation. @param {Side} side */
export const sampledSplit = ({ measured }) =>
  measured?.statistics.ablations.has("training") ? "training" : "validation";
