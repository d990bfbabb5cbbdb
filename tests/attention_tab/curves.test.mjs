import assert from "node:assert/strict";
import { test } from "node:test";
import { ticks } from "../../attention_tab/static/curves.js";

/** Ranges of every size, at zero, about it and far from it. */
const RANGES = [-300, -12, -3, -1, 0, 1, 3, 6, 12, 300].flatMap((power) =>
  [1, 1.7, 3.3, 7, 9.99].flatMap((factor) => {
    const size = factor * 10 ** power;
    return [-1, -0.5, 0, 0.37, 5, 1000].map((offset) => [offset * size, offset * size + size]);
  }),
);
const COUNTS = [2, 5, 8];
const cases = RANGES.flatMap(([low, high]) => COUNTS.map((count) => [low, high, count]));

test("ticks are as one would set them by hand", () => {
  assert.deepEqual(ticks(0, 1, 5), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(ticks(0, 5000, 8), [0, 1000, 2000, 3000, 4000, 5000]);
  assert.deepEqual(ticks(-1, 1, 5), [-1, -0.5, 0, 0.5, 1]);
  assert.deepEqual(ticks(3, 17, 5), [5, 10, 15]);
  assert.deepEqual(ticks(0.1, 0.3, 2), [0.1, 0.2, 0.3]);
  assert.deepEqual(ticks(0.14, 0.2, 4), [0.14, 0.16, 0.18, 0.2]);
});

test("ticks lie in the range and rise", () => {
  for (const [low, high, count] of cases) {
    const found = ticks(low, high, count);
    const slack = 1e-6 * (high - low);
    assert.ok(
      found.every((tick) => low - slack <= tick && tick <= high + slack),
      `${found} from ${low} to ${high}`,
    );
    assert.ok(
      found.every((tick, i) => i === 0 || tick > found[i - 1]),
      `${found} from ${low} to ${high}`,
    );
  }
});

test("there are ticks, and at most twice as many as asked for", () => {
  for (const [low, high, count] of cases) {
    const { length } = ticks(low, high, count);
    assert.ok(1 <= length && length <= 2 * count, `${length} for ${count} from ${low} to ${high}`);
  }
});

test("ticks are one, two or five times a power of ten apart, and multiples of that", () => {
  for (const [low, high, count] of cases) {
    const found = ticks(low, high, count);
    if (found.length < 2) continue;
    const [digits] = (found[1] - found[0]).toExponential(3).split("e");
    assert.ok(["1.000", "2.000", "5.000"].includes(digits), `${found} from ${low} to ${high}`);
    const unit = Number((found[1] - found[0]).toPrecision(4));
    for (const tick of found) assert.ok(Math.abs(tick / unit - Math.round(tick / unit)) < 1e-6, `${tick} by ${unit}`);
  }
});

test("a range of nothing has its one position", () => {
  assert.deepEqual(ticks(3, 3, 5), [3]);
  assert.deepEqual(ticks(3, 2, 5), [3]);
  assert.deepEqual(ticks(0, 0, 8), [0]);
});
