// @ts-check
// The score of a query and a key as a sum of parts. Pure; attention_tab/scores.py has the formulas.

/** `above`: less the mean of this part over the query's keys. @typedef {{name: string, value: number, above: number}} Part */

const KINDS = ["content, content", "content, position", "position, content", "position, position"]; // of query, of key

/**
 * The score and the weight of a key, at most `query`, in one head; null if there are no factors of it. `parts` are by
 * column or, if `rotated`, by the wavelength of a pair of columns; `kinds` by content and position, if these are added.
 * @param {import("./scores.js").Scores} scores not of a mean
 * @param {string} name of the head
 * @param {number} query
 * @param {number} key
 */
export function explanation({ scoring, position, names, layers, T }, name, query, key) {
  if (!names.includes(name) || query >= T) return null;
  const [number, head] = name.split(".").map((count) => Number(count) - 1);
  const { columns, scale, vector, queryPosition, keyPosition, ...layer } = layers[number];
  const row = (/** @type {Float32Array} */ of, /** @type {number} */ i) =>
    of.subarray((head * T + i) * columns, (head * T + i + 1) * columns);
  const terms = termsBy(scoring, scale, vector?.subarray(head * columns));
  const q = row(layer.query, query);
  const byColumn = Array.from({ length: query + 1 }, (_, j) => terms(q, row(layer.key, j)));
  const scores = Float64Array.from(byColumn, sum);
  // In these two scorings the part of a rotated pair of columns depends on the distance of the positions.
  const rotated = position === "rotary" && (scoring === "dot" || scoring === "distance");
  const parts = rotated
    ? partsOf(byColumn.map(paired), key, wavelengths(columns))
    : partsOf(byColumn, key, [...byColumn[key].keys()].map(String));
  let kinds = null;
  if (queryPosition && keyPosition && (scoring === "dot" || scoring === "bilinear")) {
    const p = row(queryPosition, query);
    const byKind = Array.from(scores, (whole, j) => {
      const of = row(keyPosition, j);
      const [ofQuery, ofKey, both] = [terms(p, row(layer.key, j)), terms(q, of), terms(p, of)].map(sum);
      return [whole - ofQuery - ofKey + both, ofKey - both, ofQuery - both, both];
    });
    kinds = partsOf(byKind, key, KINDS);
  }
  const score = scores[key];
  const weight = 1 / sum(scores.map((other) => Math.exp(other - score)));
  const above = score - sum(scores) / scores.length;
  return { score, above, weight, rotated, parts, kinds };
}

/**
 * @param {(Float64Array | number[])[]} rows parts of each key's score
 * @param {number} key
 * @param {string[]} names
 */
const partsOf = (rows, key, names) =>
  names.map((name, i) => {
    const value = rows[key][i];
    return { name, value, above: value - sum(rows.map((row) => row[i])) / rows.length };
  });

/**
 * What each column of a query and a key adds to a score. Loops of their own: callbacks take ten times as long.
 * @param {string} scoring
 * @param {number} scale
 * @param {Float32Array | undefined} vector
 * @returns {(q: Float32Array, k: Float32Array) => Float64Array}
 */
const termsBy = (scoring, scale, vector) => (q, k) => {
  const found = new Float64Array(q.length);
  if (scoring === "dot" || scoring === "bilinear") for (let c = 0; c < q.length; c++) found[c] = scale * q[c] * k[c];
  else if (scoring === "distance") for (let c = 0; c < q.length; c++) found[c] = (-scale / 2) * (q[c] - k[c]) ** 2;
  else if (scoring === "additive" && vector)
    for (let c = 0; c < q.length; c++) found[c] = vector[c] * Math.tanh(q[c] + k[c]);
  else throw new Error(`Expected dot, bilinear, distance or additive scoring with its factors, got ${scoring}.`);
  return found;
};

/** @param {Iterable<number>} numbers */
function sum(numbers) {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}

/** Sums of columns two by two; an odd last one stays. @param {Float64Array} columns */
function paired(columns) {
  const sums = new Float64Array(Math.ceil(columns.length / 2));
  for (let c = 0; c < columns.length; c++) sums[c >> 1] += columns[c];
  return sums;
}

/**
 * In characters, of each pair of D columns, rotated by i / 10000^(2j/D) at position i (Su et al. 2021, section 3.2).
 * @param {number} D
 */
const wavelengths = (D) =>
  Array.from({ length: Math.ceil(D / 2) }, (_, j) =>
    2 * j + 1 < D ? (2 * Math.PI * 10_000 ** ((2 * j) / D)).toLocaleString("en", { maximumSignificantDigits: 3 }) : "∞",
  );
