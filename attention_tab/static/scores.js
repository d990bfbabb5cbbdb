// @ts-check
// Factors of attention scores, of attention_tab/scores.py, for the browser.

import { expect, headsOf, restored, stored, unpacked } from "./blob.js";

/**
 * Queries and keys of one layer: H heads, T positions, D columns.
 * @typedef {object} LayerScores
 * @property {Float32Array} query (H, T, D)
 * @property {Float32Array} key (H, T, D)
 * @property {Float32Array | null} queryPosition part of the query that an added positional encoding makes
 * @property {Float32Array | null} keyPosition
 * @property {Float32Array | null} vector (H, D) of additive scoring
 * @property {number} scale
 * @property {number} heads
 * @property {number} columns
 */

/**
 * @typedef {object} Scores
 * @property {string} scoring dot, bilinear, distance, additive or mean
 * @property {string} position sinusoidal, learned, rotary or none
 * @property {string[]} names of all heads: layer.head, counted from 1
 * @property {LayerScores[]} layers none for a mean
 * @property {number} T 0 for a mean
 */

/** @param {ArrayBuffer} blob @returns {Promise<Scores>} */
export async function decodeScores(blob) {
  const { header, arrays } = await unpacked(blob, "scores");
  const { heads, names } = headsOf(header);
  const { scoring, position, scales, largest } = header;
  expect(typeof scoring === "string" && typeof position === "string", "a scoring and a position");
  expect(Array.isArray(scales) && (scales.length === 0 || scales.length === heads.length), "a scale of each layer");
  expect(typeof largest === "object" && largest !== null, "the largest values");
  const T = scales.length === 0 ? 0 : (arrays.get("query_1")?.shape[0] ?? 0) / heads[0];
  const layers = scales.map((/** @type {unknown} */ scale, /** @type {number} */ layer) => {
    expect(typeof scale === "number" && Number.isFinite(scale), "a scale of each layer");
    const H = heads[layer];
    const columns = arrays.get(`query_${layer + 1}`)?.shape[1] ?? 0;
    const read = (/** @type {string} */ kind, rows = H * T) => {
      const name = `${kind}_${layer + 1}`;
      const fractions = /** @type {Int16Array} */ (stored(arrays, name, "int16", [rows, columns]));
      return restored(fractions, Object.hasOwn(largest, name) ? largest[name] : null, 32767);
    };
    const has = (/** @type {string} */ kind) => arrays.has(`${kind}_${layer + 1}`);
    return {
      query: read("query"),
      key: read("key"),
      queryPosition: has("query_position") ? read("query_position") : null,
      keyPosition: has("key_position") ? read("key_position") : null,
      vector: has("vector") ? read("vector", H) : null,
      scale,
      heads: H,
      columns,
    };
  });
  return { scoring, position, names, layers, T };
}
