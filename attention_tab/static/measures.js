// @ts-check
// One number for each head: a metric of the text shown, or of the validation sample. Pure.

/** @typedef {import("./gather.js").Side} Side */

const ABLATION = "ablation"; // is in no snapshot: it costs a pass for each head, and is measured at evaluations

/** @param {Side} side */
const ablationOf = ({ tag, measured }) => measured?.statistics.ablations.get(tag.slice(tag.indexOf("/") + 1)) ?? null;

/** The split that the sample is of: training where there is no validation. @param {Side} side */
export const sampledSplit = ({ measured }) =>
  measured?.statistics.ablations.has("training") ? "training" : "validation";

/**
 * The metric of every head, or null where it was not measured.
 * @param {Side} side
 * @param {string} metric
 * @param {boolean} sample whether of the validation sample, not of the side's text
 * @returns {Float32Array | null}
 */
export function valuesOf(side, metric, sample) {
  if (sample) return side.measured?.statistics.metrics.get(metric) ?? null;
  return side.snapshot.metrics.get(metric) ?? (metric === ABLATION ? ablationOf(side) : null);
}

/**
 * The metric of a head whose queries all attend evenly; NaN if unknown.
 * @param {Side} side
 * @param {string} metric
 * @param {boolean} sample
 */
export function chanceOf({ snapshot, measured }, metric, sample) {
  return (sample ? measured?.statistics : snapshot)?.chance.get(metric) ?? Number.NaN;
}

/**
 * The names of the metrics that `valuesOf` knows.
 * @param {Side} side
 * @param {boolean} sample
 */
export function metricsOf(side, sample) {
  if (sample) return [...(side.measured?.statistics.metrics.keys() ?? [])];
  return [...side.snapshot.metrics.keys(), ...(ablationOf(side) ? [ABLATION] : [])];
}
