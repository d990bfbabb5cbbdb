import assert from "node:assert/strict";
import { test } from "node:test";
import { formationsOf, THRESHOLD } from "../../attention_tab/static/forming.js";
import { chanceOf, metricsOf, valuesOf } from "../../attention_tab/static/measured.js";

const LOW = THRESHOLD - 0.01;
/** Heads of one layer whose scores are these at steps 0, 10, 20, ... */
const curves = (...scores) =>
  scores.map((of, i) => ({ layer: 1, head: i + 1, points: of.map((score, j) => [10 * j, score]) }));

test("a head forms where its score first reaches the threshold from below", () => {
  assert.deepEqual(formationsOf(curves([0, LOW, THRESHOLD, LOW, 1])), [{ step: 20, heads: ["1.1"] }]);
});

test("heads that form at one step have one mark, and marks come in the order of their steps", () => {
  assert.deepEqual(formationsOf(curves([0, 0, 1], [0, 1], [0, 0, 1])), [
    { step: 10, heads: ["1.2"] },
    { step: 20, heads: ["1.1", "1.3"] },
  ]);
});

test("heads that never pass, that begin above and that were measured once form nowhere", () => {
  assert.deepEqual(formationsOf(curves([0, LOW, LOW], [1, 1, 1], [1], [])), []);
});

const snapshot = { metrics: new Map([["entropy", [1]]]), chance: new Map([["entropy", 3]]) };
const statistics = {
  metrics: new Map([
    ["ablation", [0.1]],
    ["entropy", [2]],
  ]),
  chance: new Map([["entropy", 4]]),
  ablations: new Map([["probe_1", [0.2]]]),
};
const side = { tag: "attention_tab/probe_1", snapshot, measured: { statistics, step: 0 } };

test("a metric is that of the text or of the validation sample", () => {
  assert.deepEqual([valuesOf(side, "entropy", false), valuesOf(side, "entropy", true)], [[1], [2]]);
  assert.deepEqual([chanceOf(side, "entropy", false), chanceOf(side, "entropy", true)], [3, 4]);
});

test("the ablation is that of the text or of the validation sample, and is missing where it was not measured", () => {
  assert.deepEqual([valuesOf(side, "ablation", false), valuesOf(side, "ablation", true)], [[0.2], [0.1]]);
  assert.deepEqual(
    [metricsOf(side, false), metricsOf(side, true)],
    [
      ["entropy", "ablation"],
      ["ablation", "entropy"],
    ],
  );
  for (const without of [
    { ...side, measured: null },
    { ...side, tag: "attention_tab/validation" },
  ]) {
    assert.equal(valuesOf(without, "ablation", false), null);
    assert.deepEqual(metricsOf(without, false), ["entropy"]);
  }
  assert.deepEqual(metricsOf({ ...side, measured: null }, true), []);
  assert.equal(chanceOf(side, "ablation", false), Number.NaN);
});
