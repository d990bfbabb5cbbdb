// @ts-check
// Rows, columns, means, differences and ranks of attention weights. Pure.
//
// A map is the lower triangle of a head's weights, row by row: T (T + 1) / 2 numbers.

/** @typedef {import("./format.js").Snapshot} Snapshot */
/** @typedef {"from" | "to"} Direction attention from a query, or to a key */

/** The weight, or the probability, that each stored level stands for. */
export const WEIGHT = Float32Array.from({ length: 256 }, (_, level) => (level / 255) ** 2);

/** @param {number} T */
export const triangle = (T) => (T * (T + 1)) / 2;

/** The stored levels of one head. @param {Snapshot} snapshot @param {number} head */
export function levelsOf(snapshot, head) {
  const size = triangle(snapshot.tokens.length);
  return snapshot.levels.subarray(head * size, (head + 1) * size);
}

/**
 * The weights of one head, or the mean of several.
 * @param {Snapshot} snapshot
 * @param {number[]} heads
 * @param {boolean} [values] times the norms of what the keys' values add to the stream, which the snapshot must have
 */
export function weightsOf(snapshot, heads, values = false) {
  const T = snapshot.tokens.length;
  const map = new Float32Array(triangle(T));
  for (const head of heads) {
    const levels = levelsOf(snapshot, head);
    const norms = values && snapshot.valueNorms?.subarray(head * T, (head + 1) * T);
    let at = 0;
    for (let query = 0; query < T; query++)
      for (let key = 0; key <= query; key++, at++) map[at] += WEIGHT[levels[at]] * (norms ? norms[key] : 1);
  }
  return heads.length === 1 ? map : map.map((sum) => sum / heads.length);
}

/** The largest weight times value norm of all heads; 1 if all are zero. @param {Snapshot} snapshot */
export function largestProduct(snapshot) {
  let most = 0;
  for (const head of snapshot.names.keys())
    for (const product of weightsOf(snapshot, [head], true)) if (product > most) most = product;
  return most || 1;
}

/** @param {Float32Array} a @param {Float32Array} b */
export const difference = (a, b) => a.map((weight, i) => weight - b[i]);

/**
 * Levels to colour weights by: 255 times the root.
 * @param {Float32Array} map
 * @param {number} [most] the number with the last colour
 */
export const weightLevels = (map, most = 1) => bytes(map, (weight) => 255 * Math.sqrt(weight / most));

/**
 * Levels to colour differences by: 0 for -most, 255 for most, and the root between, as for weights.
 * @param {Float32Array} map
 * @param {number} [most]
 */
export const differenceLevels = (map, most = 1) =>
  bytes(map, (value) => 127.5 * (1 + Math.sign(value) * Math.sqrt(Math.abs(value / most))));

/** `Uint8Array.from` takes several times as long. @param {Float32Array} map @param {(value: number) => number} level */
function bytes(map, level) {
  const levels = new Uint8Array(map.length);
  for (let i = 0; i < map.length; i++) levels[i] = Math.round(level(map[i]));
  return levels;
}

/**
 * The weights from `position` to each of T characters, or from each of them to it.
 * @param {Float32Array} map
 * @param {number} T
 * @param {number} position
 * @param {Direction} direction
 */
export function weightsAt(map, T, position, direction) {
  const values = new Float32Array(T);
  if (direction === "from") values.set(map.subarray(triangle(position), triangle(position + 1)));
  else for (let query = position; query < T; query++) values[query] = map[triangle(query) + position];
  return values;
}

/**
 * The positions of the largest values above zero, the largest first; of equal ones the later.
 * @param {ArrayLike<number>} values
 * @param {number} count
 */
export function largest(values, count) {
  return Array.from(values, (_, i) => i)
    .filter((i) => values[i] > 0)
    .sort((i, j) => values[j] - values[i] || j - i)
    .slice(0, count);
}

/** The rank of `values[i]` among them, 1 for the largest. @param {ArrayLike<number>} values @param {number} i */
export function rank(values, i) {
  let found = 1;
  for (let j = 0; j < values.length; j++) if (values[j] > values[i]) found++;
  return found;
}

/** 0 to n - 1 in the order of `values`, the largest first, unknown ones last. @param {ArrayLike<number>} values */
export function order(values) {
  const key = (/** @type {number} */ i) => (Number.isNaN(values[i]) ? -Number.MAX_VALUE : values[i]);
  return Array.from(values, (_, i) => i).sort((i, j) => key(j) - key(i) || i - j);
}

/**
 * The index of the step nearest to `step`, in sorted steps; the last for null.
 * @param {number[]} steps
 * @param {number | null} step
 */
export function nearest(steps, step) {
  if (step === null) return steps.length - 1;
  let best = 0;
  for (let i = 1; i < steps.length; i++) if (Math.abs(steps[i] - step) < Math.abs(steps[best] - step)) best = i;
  return best;
}

/** Whether two snapshots are of the same text. @param {Snapshot} a @param {Snapshot} b */
export const sameText = ({ tokens: a }, { tokens: b }) =>
  a.length === b.length && a.every((token, i) => token === b[i]);
