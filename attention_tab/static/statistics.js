// @ts-check
// Head statistics of attention_tab/statistics.py, for the browser.

import { triangle } from "./attention.js";
import { expect, headsOf, lengthOf, rowsOf, stored, texts, unpacked } from "./blob.js";

/**
 * What every head does in a sample of the validation split.
 * @typedef {object} Statistics
 * @property {string[]} names of all heads: layer.head, counted from 1
 * @property {string[][]} sequences tokens of each
 * @property {Map<string, Float32Array>} metrics over all sequences
 * @property {Map<string, number>} chance of each metric, if every query attends evenly; NaN if unknown
 * @property {Map<string, Float32Array>} ablations by probe: rise of its loss in nats/char without the head's output
 * @property {Place[][]} places of each head: where it looks most decidedly, best first
 */

/** `levels`: the head's map of that sequence, its lower triangle, row by row. @typedef {{sequence: number, query: number, key: number, decisiveness: number, levels: Uint8Array}} Place */

/**
 * @param {ArrayBuffer} blob
 * @returns {Promise<Statistics>}
 */
export async function decodeStatistics(blob) {
  const { header, arrays } = await unpacked(blob, "statistics");
  const { names } = headsOf(header);
  const metricNames = texts(header, "metrics");
  const probes = texts(header, "probes");
  expect(Array.isArray(header.sequences), "a list of sequences");
  const sequences = header.sequences.map((/** @type {unknown} */ sequence) => texts({ sequence }, "sequence"));
  const longest = Math.max(0, ...sequences.map(lengthOf));
  const N = names.length;
  const chance = stored(arrays, "chance", "float32", [metricNames.length]);
  const count = arrays.get("decisiveness")?.shape[0] ?? 0;
  const each = count / N;
  expect(Number.isInteger(each), "as many places of each head");
  const decisiveness = stored(arrays, "decisiveness", "float32", [count]);
  const numbers = stored(arrays, "places", "uint16", [count, 3]);
  const size = triangle(longest);
  const maps = stored(arrays, "maps", "uint8", [count, size]);
  const placeAt = (/** @type {number} */ i) => {
    if (!Number.isFinite(decisiveness[i])) return []; // the head has fewer
    const [sequence, query, key] = numbers.subarray(3 * i, 3 * i + 3);
    expect(key <= query && query < sequences[sequence]?.length, "places inside their sequences");
    const T = sequences[sequence].length;
    const levels = maps.subarray(i * size, i * size + triangle(T));
    return [{ sequence, query, key, decisiveness: decisiveness[i], levels }];
  };
  return {
    names,
    sequences,
    metrics: rowsOf(metricNames, stored(arrays, "metrics", "float32", [metricNames.length, N])),
    chance: new Map(metricNames.map((name, i) => [name, chance[i]])),
    ablations: rowsOf(probes, stored(arrays, "ablations", "float32", [probes.length, N])),
    places: names.map((_, head) => Array.from({ length: each }, (_, i) => placeAt(head * each + i)).flat()),
  };
}
