import assert from "node:assert/strict";
import { test } from "node:test";
import {
  difference,
  differenceLevels,
  largest,
  largestProduct,
  levelsOf,
  nearest,
  order,
  rank,
  sameText,
  weightsAt,
  triangle,
  weightLevels,
  weightsOf,
} from "../../attention_tab/static/attention.js";

/** Of three heads, two in the first layer and one in the second, with levels that differ. */
function made(T) {
  const levels = Uint8Array.from({ length: 3 * triangle(T) }, (_, i) => (i * 97 + 13) % 256);
  return { tokens: Array(T).fill("a"), heads: [2, 1], names: ["1.1", "1.2", "2.1"], levels };
}

/** The full matrix of a head's weights, as the format defines them. */
function matrixOf({ tokens, levels }, head) {
  const T = tokens.length;
  let at = (head * T * (T + 1)) / 2;
  return tokens.map((_, query) => tokens.map((_, key) => (key <= query ? (levels[at++] / 255) ** 2 : 0)));
}

/** Equal up to the precision of 32 bits. */
function close(found, expected) {
  assert.equal(found.length, expected.length);
  for (const [i, value] of found.entries()) assert.ok(Math.abs(value - expected[i]) < 1e-6, `${value} at ${i}`);
}

const lower = (matrix) => matrix.flatMap((row, query) => row.slice(0, query + 1));

test("a head's weights are the squares of its own levels", () => {
  for (const T of [1, 2, 7]) {
    const snapshot = made(T);
    for (const head of [0, 1, 2]) close(weightsOf(snapshot, [head]), lower(matrixOf(snapshot, head)));
  }
});

test("of several heads the weights are the mean", () => {
  const snapshot = made(6);
  const [first, second, third] = [0, 1, 2].map((head) => lower(matrixOf(snapshot, head)));
  close(
    weightsOf(snapshot, [0, 2]),
    first.map((weight, i) => (weight + third[i]) / 2),
  );
  close(
    weightsOf(snapshot, [2, 1, 0]),
    first.map((weight, i) => (weight + second[i] + third[i]) / 3),
  );
});

test("weights times value norms are of each key its own, and the largest is over all heads", () => {
  for (const T of [1, 5]) {
    const valueNorms = Float32Array.from({ length: 3 * T }, (_, i) => ((i * 5) % 7) / 2);
    const snapshot = { ...made(T), valueNorms };
    const products = [0, 1, 2].map((head) =>
      lower(matrixOf(snapshot, head).map((row) => row.map((weight, key) => weight * valueNorms[head * T + key]))),
    );
    for (const head of [0, 1, 2]) close(weightsOf(snapshot, [head], true), products[head]);
    const mean = products[0].map((product, i) => (product + products[2][i]) / 2);
    close(weightsOf(snapshot, [2, 0], true), mean);
    close([largestProduct(snapshot)], [Math.max(...products.flat())]);
  }
  assert.equal(largestProduct({ ...made(2), valueNorms: new Float32Array(6) }), 1); // nothing to divide by zero
});

test("weights are computed afresh and leave the levels as they are", () => {
  const snapshot = made(4);
  const before = Uint8Array.from(snapshot.levels);
  weightsOf(snapshot, [1]).fill(0);
  assert.deepEqual(snapshot.levels, before);
});

test("a character attends to its row and is attended to by its column", () => {
  for (const T of [1, 2, 9]) {
    const snapshot = made(T);
    const map = weightsOf(snapshot, [1]);
    const matrix = matrixOf(snapshot, 1);
    for (let position = 0; position < T; position++) {
      close(weightsAt(map, T, position, "from"), matrix[position]);
      close(
        weightsAt(map, T, position, "to"),
        matrix.map((row) => row[position]),
      );
    }
  }
});

test("every level survives the way to a weight and back", () => {
  const levels = Uint8Array.from({ length: 276 }, (_, i) => i % 256);
  const snapshot = { ...made(23), levels };
  assert.deepEqual(weightLevels(weightsOf(snapshot, [0])), levelsOf(snapshot, 0));
});

test("levels of a mean are those of its root", () => {
  assert.deepEqual([...weightLevels(Float32Array.of(0, 0.25, 0.5, 1))], [0, 128, 180, 255]);
  assert.deepEqual([...weightLevels(Float32Array.of(0, 2, 8), 8)], [0, 128, 255]);
});

test("differences are of the first from the second", () => {
  assert.deepEqual([...difference(Float32Array.of(1, 0, 0.5), Float32Array.of(0.25, 1, 0.5))], [0.75, -1, 0]);
});

test("levels of differences have 128 for none and go by the root to either side", () => {
  const levels = (...values) => [...differenceLevels(Float32Array.from(values))];
  assert.deepEqual(levels(-1, -0.25, -0, 0, 0.25, 1), [0, 64, 128, 128, 191, 255]);
  assert.deepEqual([...differenceLevels(Float32Array.of(-8, -2, 0, 8), 8)], [0, 64, 128, 255]);
  for (let i = 1; i <= 100; i++) {
    const [less, more] = levels(-i / 100, i / 100);
    assert.ok(Math.abs(less + more - 255) <= 1, `${less} and ${more}`);
  }
});

test("the largest come first, of two alike the later, and nothing that is zero", () => {
  assert.deepEqual(largest([0.1, 0, 0.3, 0.1, 0.5], 3), [4, 2, 3]);
  assert.deepEqual(largest([0.2, 0.2, 0.2], 2), [2, 1]);
  assert.deepEqual(largest([0, 0.5, 0], 3), [1]);
  assert.deepEqual(largest([0, -1, Number.NaN], 3), []);
  assert.deepEqual(largest([0.1, 0.2], 0), []);
});

test("a rank counts only what is larger", () => {
  const ranks = (values) => values.map((_, i) => rank(values, i));
  assert.deepEqual(ranks([0.1, 0.5, 0.3]), [3, 1, 2]);
  assert.deepEqual(ranks([0.3, 0.5, 0.3, 0.1]), [2, 1, 2, 4]);
  assert.deepEqual(ranks([0, 0]), [1, 1]);
});

test("heads are ordered by their values, those alike by number, unknown ones last", () => {
  assert.deepEqual(order([0.1, 0.3, 0.2]), [1, 2, 0]);
  assert.deepEqual(order([Number.NaN, 0.1, Number.NaN, 0.2, 0.1]), [3, 1, 4, 0, 2]);
  assert.deepEqual(order(Float32Array.of(-1, Number.NaN, -2)), [0, 2, 1]);
  assert.deepEqual(order([Number.NaN, Number.NaN]), [0, 1]);
  assert.deepEqual(order([]), []);
});

test("the nearest step is found, of two as near the earlier, and the last where none is asked for", () => {
  const steps = [0, 10, 20, 100];
  assert.equal(nearest(steps, null), 3);
  assert.deepEqual(
    [0, 4, 5, 6, 20, 59, 60, 61, 1e15].map((step) => nearest(steps, step)),
    [0, 0, 0, 1, 2, 2, 2, 3, 3],
  );
  assert.equal(nearest([7], 0), 0);
});

test("texts are the same if each character is", () => {
  const of = (...tokens) => ({ tokens });
  assert.ok(sameText(of("a", "b"), of("a", "b")));
  for (const other of [of("a"), of("a", "c"), of("b", "a"), of("a", "b", "b"), of("ab")]) {
    assert.ok(!sameText(of("a", "b"), other));
  }
});
