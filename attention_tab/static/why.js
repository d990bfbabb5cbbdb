// @ts-check
// The score of a query and a key as a sum of parts. Pure; attention_tab/scores.py has the formulas.

/** `above`: less the mean of this part over the query's keys. @typedef {{name: string, value: number, above: number}} Part */

/** @type {Record<string, (q: number, k: number, scale: number, vector: number) => number>} */
const FORMULAS = {
  dot: (q, k, scale) => scale * q * k,
  bilinear: (q, k, scale) => scale * q * k,
  distance: (q, k, scale) => (-scale * (q - k) ** 2) / 2,
  additive: (q, k, _, vector) => vector * Math.tanh(q + k),
};
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
  const terms = (/** @type {Float32Array} */ q, /** @type {Float32Array} */ k) =>
    Array.from(q, (x, c) => FORMULAS[scoring](x, k[c], scale, vector?.[head * columns + c] ?? Number.NaN));
  const q = row(layer.query, query);
  const keys = Array.from({ length: query + 1 }, (_, j) => row(layer.key, j));
  const byColumn = keys.map((k) => terms(q, k));
  const scores = partsOf(
    byColumn.map((of) => [sum(of)]),
    key,
    ["score"],
  )[0];
  // In these two scorings the part of a rotated pair of columns depends on the distance of the positions.
  const rotated = position === "rotary" && (scoring === "dot" || scoring === "distance");
  const parts = rotated
    ? partsOf(byColumn.map(paired), key, wavelengths(columns))
    : partsOf(
        byColumn,
        key,
        Array.from(q, (_, column) => String(column)),
      );
  let kinds = null;
  if (queryPosition && keyPosition && (scoring === "dot" || scoring === "bilinear")) {
    const p = row(queryPosition, query);
    const byKind = keys.map((k, j) => {
      const [of, content] = [row(keyPosition, j), minus(q, p)];
      const own = minus(k, of);
      return [terms(content, own), terms(content, of), terms(p, own), terms(p, of)].map(sum);
    });
    kinds = partsOf(byKind, key, KINDS);
  }
  // Softmax, with nothing to overflow.
  const weight = 1 / sum(byColumn.map((of) => Math.exp(sum(of) - scores.value)));
  return { score: scores.value, above: scores.above, weight, rotated, parts, kinds };
}

/**
 * @param {number[][]} rows parts of each key's score
 * @param {number} key
 * @param {string[]} names
 * @returns {Part[]}
 */
const partsOf = (rows, key, names) =>
  names.map((name, i) => {
    const value = rows[key][i];
    return { name, value, above: value - sum(rows.map((row) => row[i])) / rows.length };
  });

/** @param {number[]} numbers */
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

/** @param {Float32Array} a @param {Float32Array} b */
const minus = (a, b) => a.map((x, i) => x - b[i]);

/** Sums of columns two by two; an odd last one stays. @param {number[]} columns */
const paired = (columns) => columns.filter((_, c) => c % 2 === 0).map((part, i) => part + (columns[2 * i + 1] ?? 0));

/**
 * In characters, of each pair of D columns, rotated by i / 10000^(2j/D) at position i (Su et al. 2021, section 3.2).
 * @param {number} D
 */
const wavelengths = (D) =>
  Array.from({ length: Math.ceil(D / 2) }, (_, j) =>
    2 * j + 1 < D ? (2 * Math.PI * 10_000 ** ((2 * j) / D)).toLocaleString("en", { maximumSignificantDigits: 3 }) : "∞",
  );
