// @ts-check
// The steps at which heads form: where a score first passes a threshold. Pure.

/** The heads of a metric that pass at one step. @typedef {{step: number, heads: string[]}} Formation */

/** The metrics that tell what a head has become. */
export const FORMED = ["previous", "induction"];

/** A score beyond what heads have by chance in texts of more than a few characters. */
export const THRESHOLD = 0.3;

/**
 * @param {import("./client.js").Curves} curves of one metric
 * @returns {Formation[]} in the order of their steps; heads that begin above the threshold do not pass it
 */
export function formationsOf(curves) {
  /** @type {Map<number, string[]>} */
  const found = new Map();
  for (const { layer, head, points } of curves) {
    const passing = points.find(([, score], i) => i > 0 && score >= THRESHOLD && points[i - 1][1] < THRESHOLD);
    if (passing) found.set(passing[0], [...(found.get(passing[0]) ?? []), `${layer}.${head}`]);
  }
  return [...found].map(([step, heads]) => ({ step, heads })).sort((a, b) => a.step - b.step);
}
