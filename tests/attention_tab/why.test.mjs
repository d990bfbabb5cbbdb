import assert from "node:assert/strict";
import { test } from "node:test";
import { explanation } from "../../attention_tab/static/why.js";

const T = 7;
const HEADS = [2, 1];

/** Numbers from -1 to 1, the same each time. */
function numbers(count, seed) {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (2 * state) / 2 ** 32 - 1;
  });
}

/** Factors of two layers, the second with an odd number of columns. */
function made(scoring, position) {
  const layers = HEADS.map((heads, i) => {
    const columns = 4 + 3 * i;
    const [query, key, queryPosition, keyPosition] = [1, 2, 3, 4].map((n) => numbers(heads * T * columns, 9 * i + n));
    const added =
      position === "sinusoidal" ? { queryPosition, keyPosition } : { queryPosition: null, keyPosition: null };
    const vector = scoring === "additive" ? numbers(heads * columns, 5) : null;
    return { query, key, ...added, vector, scale: columns ** -0.5, heads, columns };
  });
  return { scoring, position, names: ["1.1", "1.2", "2.1"], layers, T };
}

const near = (a, b) => assert.ok(Math.abs(a - b) < 1e-9, `${a} is not ${b}`);
const total = (values) => values.reduce((sum, value) => sum + value, 0);
const mean = (values) => total(values) / values.length;

/** One column's part, by the definition. */
function term({ scoring, layers }, [layer, head], query, key, c) {
  const { columns: D, scale, vector, query: qs, key: ks } = layers[layer];
  const q = qs[(head * T + query) * D + c];
  const k = ks[(head * T + key) * D + c];
  if (scoring === "distance") return (-scale / 2) * (q - k) * (q - k);
  return scoring === "additive" ? vector[head * D + c] * Math.tanh(q + k) : scale * q * k;
}

for (const scoring of ["dot", "bilinear", "distance", "additive"])
  for (const position of ["none", "rotary", "sinusoidal"])
    test(`the parts of a score are those of its definition: ${scoring}, ${position}`, () => {
      const scores = made(scoring, position);
      const pairs = position === "rotary" && ["dot", "distance"].includes(scoring);
      for (const [name, layer, head] of [
        ["1.1", 0, 0],
        ["1.2", 0, 1],
        ["2.1", 1, 0],
      ])
        for (let query = 0; query < T; query++)
          for (let key = 0; key <= query; key++) {
            const found = explanation(scores, name, query, key);
            const { columns } = scores.layers[layer];
            const columnsOf = (k) =>
              Array.from({ length: columns }, (_, c) => term(scores, [layer, head], query, k, c));
            const all = Array.from({ length: query + 1 }, (_, k) => columnsOf(k));
            near(found.score, total(all[key]));
            near(found.above, total(all[key]) - mean(all.map(total)));
            near(found.weight, Math.exp(total(all[key])) / total(all.map((row) => Math.exp(total(row)))));
            assert.equal(found.rotated, pairs);
            assert.equal(found.parts.length, pairs ? Math.ceil(columns / 2) : columns);
            for (const [i, { value, above }] of found.parts.entries()) {
              const of = (row) => (pairs ? total(row.slice(2 * i, 2 * i + 2)) : row[i]);
              near(value, of(all[key]));
              near(above, of(all[key]) - mean(all.map(of)));
            }
            near(total(found.parts.map(({ above }) => above)), found.above);
          }
    });

test("content and position of query and key make four parts where positions are added", () => {
  for (const scoring of ["dot", "bilinear"]) {
    const scores = made(scoring, "sinusoidal");
    const { columns: D, scale, query: qs, key: ks, queryPosition, keyPosition } = scores.layers[1];
    const by = (ofQuery, ofKey) => (k) => {
      let sum = 0;
      for (let c = 0; c < D; c++) {
        const [i, j] = [5 * D + c, k * D + c];
        const q = ofQuery === "position" ? queryPosition[i] : qs[i] - queryPosition[i];
        sum += scale * q * (ofKey === "position" ? keyPosition[j] : ks[j] - keyPosition[j]);
      }
      return sum;
    };
    const { kinds, score } = explanation(scores, "2.1", 5, 2);
    for (const { name, value, above } of kinds) {
      const of = by(...name.split(", "));
      assert.ok(Math.abs(value - of(2)) < 1e-6);
      assert.ok(Math.abs(above - (of(2) - mean([0, 1, 2, 3, 4, 5].map(of)))) < 1e-6);
    }
    assert.ok(Math.abs(total(kinds.map(({ value }) => value)) - score) < 1e-6);
  }
  for (const scoring of ["distance", "additive"])
    assert.equal(explanation(made(scoring, "sinusoidal"), "1.1", 3, 1).kinds, null);
});

test("a rotated pair is named by its wavelength in characters, and an odd column is not rotated", () => {
  const names = (name) => explanation(made("dot", "rotary"), name, 3, 1).parts.map((part) => part.name);
  assert.deepEqual(names("1.1"), ["6.28", "628"]);
  assert.deepEqual(names("2.1"), ["6.28", "87.3", "1,210", "∞"]);
});

test("a head or a query without factors has no explanation", () => {
  const scores = made("dot", "none");
  assert.equal(explanation(scores, "3.1", 1, 0), null);
  assert.equal(explanation(scores, "1.1", T, 0), null);
});
