// @ts-check
// Snapshots and encodings of attention_tab/format.py, for the browser.

import { triangle, WEIGHT } from "./attention.js";
import { expect, headsOf, indices, lengthOf, restored, rowsOf, stored, texts, unpacked } from "./blob.js";

export const TAG = "attention_tab/"; // of texts, followed by their names
export const FIRST = `${TAG}validation`;

/**
 * Attention of the heads of all layers in one text of T characters.
 * @typedef {object} Snapshot
 * @property {string[]} tokens
 * @property {number[]} heads in each layer
 * @property {string[]} names of all heads: layer.head, counted from 1
 * @property {Uint8Array} levels 255 sqrt(weight): of each head the lower triangle, row by row
 * @property {Map<string, Float32Array>} metrics
 * @property {Float32Array} loss of each character in nats, NaN for the first
 * @property {string[]} candidates
 * @property {Uint16Array} likeliest indices of candidates, `choices` for each character
 * @property {Float32Array} probabilities of those
 * @property {number} choices
 * @property {Map<string, number>} chance of each metric, if every query attends evenly; empty or NaN if unknown
 * @property {Float32Array | null} valueNorms of each head T norms of what a key's value adds to the stream, or unknown
 * @property {Lens | null} lens
 */

/**
 * The logit lens: `choices` likeliest next characters of each position, of the embedding and after each layer.
 * @typedef {object} Lens
 * @property {Uint16Array} likeliest indices of candidates, (layers + 1, T, choices)
 * @property {Float32Array} probabilities of those
 * @property {number} choices
 */

/**
 * The table of a positional encoding.
 * @typedef {object} Encoding
 * @property {string} name
 * @property {string[]} columns
 * @property {Float32Array} values position by position
 * @property {number} positions
 * @property {number} largest
 */

/** @param {ArrayBuffer} blob @returns {Promise<Snapshot>} */
export async function decodeSnapshot(blob) {
  const { header, arrays } = await unpacked(blob, "attention");
  const tokens = texts(header, "tokens");
  const candidates = texts(header, "candidates");
  const metricNames = texts(header, "metrics");
  const { heads, names } = headsOf(header);
  const T = lengthOf(tokens);
  const N = names.length;
  const choices = arrays.get("probabilities")?.shape[1] ?? 0;
  const chance = arrays.has("chance") ? stored(arrays, "chance", "float32", [metricNames.length]) : [];
  if (!arrays.has("chance") && metricNames.includes("induction"))
    metricNames[metricNames.indexOf("induction")] = "induction_random"; // measured on nothing else before version 3
  const norms = arrays.has("value_norms") ? stored(arrays, "value_norms", "uint16", [N, T]) : null;
  return {
    tokens,
    heads,
    names,
    levels: stored(arrays, "weights", "uint8", [N, triangle(T)]),
    metrics: rowsOf(metricNames, stored(arrays, "metrics", "float32", [metricNames.length, N])),
    loss: stored(arrays, "loss", "float32", [T]),
    candidates,
    likeliest: indices(arrays, "likeliest", [T, choices], candidates),
    probabilities: stored(arrays, "probabilities", "float32", [T, choices]),
    choices,
    chance: new Map(metricNames.map((name, i) => [name, chance[i]])),
    valueNorms: norms && restored(norms, header.largest_value_norm, 65535),
    lens: lensOf(arrays, (heads.length + 1) * T, candidates),
  };
}

/**
 * @param {Map<string, import("./blob.js").Stored>} arrays
 * @param {number} rows
 * @param {string[]} candidates
 * @returns {Lens | null}
 */
function lensOf(arrays, rows, candidates) {
  const choices = arrays.get("lens_likeliest")?.shape[1];
  if (choices === undefined) return null;
  const likeliest = indices(arrays, "lens_likeliest", [rows, choices], candidates);
  const levels = stored(arrays, "lens_probabilities", "uint8", [rows, choices]);
  const probabilities = Float32Array.from(levels, (level) => WEIGHT[level]);
  return { likeliest, probabilities, choices };
}

/** @param {ArrayBuffer} blob @returns {Promise<Encoding>} */
export async function decodeEncoding(blob) {
  const { header, arrays } = await unpacked(blob, "encoding");
  const columns = texts(header, "columns");
  const { name, largest } = header;
  expect(typeof name === "string", "a name");
  const positions = arrays.get("values")?.shape[0] ?? 0;
  const shares = stored(arrays, "values", "int16", [positions, columns.length]);
  return { name, columns, positions, largest, values: restored(shares, largest, 32767) };
}
