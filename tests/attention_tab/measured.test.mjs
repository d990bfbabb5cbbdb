import assert from "node:assert/strict";
import { test } from "node:test";
import { optionsOf } from "../../attention_tab/static/choices.js";
import { fitted } from "../../attention_tab/static/gather.js";
import { aboutCurves, aboutMetric, atChance, effectOf, placesOf, rise } from "../../attention_tab/static/measured.js";
import { initialView } from "../../attention_tab/static/view.js";

const numbers = (...values) => Float32Array.from(values);

/** A side of two heads: entropy and previous of its text, ablation and previous of the sample. */
function made(measured, tag = "attention_tab/probe_1") {
  const statistics = {
    metrics: new Map([
      ["ablation", numbers(0.034, -0.5)],
      ["previous", numbers(0.5, 0.6)],
    ]),
    chance: new Map([
      ["ablation", Number.NaN],
      ["previous", 0.25],
    ]),
    ablations: new Map([["probe_1", numbers(0.021, -0.0004)]]),
  };
  const snapshot = {
    names: ["1.1", "1.2"],
    tokens: ["a"],
    valueNorms: null,
    metrics: new Map([
      ["entropy", numbers(1, 2)],
      ["previous", numbers(0.1, 0.2)],
    ]),
    chance: new Map([["previous", 0.125]]),
  };
  const metrics = ["entropy", "previous", "ablation"];
  return { tag, metrics, snapshot, measured: measured ? { statistics, step: 300 } : null };
}

test("a metric is of the text or of the sample, wherever it was measured", () => {
  assert.deepEqual(placesOf(made(true), "previous"), [false, true]);
  assert.deepEqual(placesOf(made(true), "entropy"), [false]);
  assert.deepEqual(placesOf(made(true), "ablation"), [false, true]);
  assert.deepEqual(placesOf(made(true, "attention_tab/other"), "ablation"), [true]);
  assert.deepEqual(placesOf(made(false), "ablation"), []);
});

test("a view of what was not measured there shows what was, and of value norms that are unknown the weights", () => {
  const asked = (view, side) => fitted({ ...initialView(), values: true, ...view }, [side]);
  assert.equal(asked({ metric: "entropy", sample: true }, made(true)).sample, false);
  assert.equal(asked({ metric: "ablation", sample: false }, made(true, "attention_tab/other")).sample, true);
  assert.equal(asked({ metric: "previous", sample: true }, made(true)).sample, true);
  assert.equal(asked({ metric: "ablation", sample: true }, made(false)).metric, "ablation"); // it is to come
  assert.equal(asked({}, made(true)).values, false);
  const known = made(true);
  known.snapshot.valueNorms = numbers(1, 1);
  assert.equal(asked({}, known).values, true);
});

test("beside a metric stands its chance level where it was measured, and the step of another snapshot", () => {
  const about = (metric, sample, measured = true) => aboutMetric(made(measured), { metric, sample });
  assert.equal(about("previous", false), "chance 0.13");
  assert.equal(about("previous", true), "chance 0.25, at step 300");
  assert.equal(about("entropy", false), "");
  assert.equal(about("ablation", false), "at step 300");
  assert.equal(about("ablation", false, false), "measured at evaluations");
  const none = made(true);
  none.snapshot.metrics.set("previous", numbers(Number.NaN, Number.NaN));
  assert.equal(aboutMetric(none, { metric: "previous", sample: false }), "no value in this text");
});

test("without validation the sample is said to be of the training split", () => {
  const side = made(true, "attention_tab/training");
  side.measured.statistics.ablations.set("training", numbers(0.1, Number.NaN));
  assert.match(effectOf(side, [1]), /: no value on this text, −0.500/); // of one character
  assert.match(effectOf(side, [0]), /\+0.100 nats on this text, \+0.034 nats on the training sample,/);
  const options = optionsOf({ run: { "attention_tab/training": {} } }, { ...side, run: "run" }, "previous");
  assert.deepEqual(options.measured.at(-1), ["true", "the training sample"]);
});

test("only a score is at or below chance", () => {
  assert.ok(atChance("induction", 0.25, 0.25));
  assert.ok(!atChance("induction", 0.26, 0.25));
  assert.ok(!atChance("induction", 0.1, Number.NaN));
  assert.ok(!atChance("entropy", 0.1, 0.25));
});

test("the effect of a head is told of text and sample, with its sign", () => {
  const words = "switched off: +0.021 nats on this text, +0.034 nats on the validation sample, at step 300";
  assert.equal(effectOf(made(true), [0]), words);
  assert.match(effectOf(made(true), [1]), /: 0.000 nats on this text, −0.500 nats on/);
  assert.equal(effectOf(made(false), [0]), "switched off: measured at evaluations");
  assert.equal(effectOf(made(true), [0, 1]), "");
  assert.equal(effectOf(made(true), [-1]), "");
  assert.deepEqual([0.0004, -0.0006, 12].map(rise), ["0.000", "−0.001", "+12.000"]);
});

test("curves say what they are of if that is not what the grid shows", () => {
  const of = (tag, metric, sample) => aboutCurves({ tag: `attention_tab/${tag}` }, { metric, sample });
  assert.equal(of("validation", "previous", false), "");
  assert.equal(of("probe_1", "previous", false), ", of the first text");
  assert.equal(of("validation", "previous", true), ", of the first text");
  assert.equal(of("validation", "ablation", false), ", of the sample");
  assert.equal(of("validation", "ablation", true), "");
});
