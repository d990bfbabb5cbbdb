import assert from "node:assert/strict";
import { test } from "node:test";
import { hashOf, initialView, viewOf } from "../../attention_tab/static/view.js";

const PIECES = ["run", "/", "&", "#", "%", "%26", "=", " ", "+", '"', "'", "<b>", ",", ".", "😀", "é", "\\", "?", ";"];

/** Integers from 0 to n - 1, the same each time. */
function generator(seed) {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

/** Any view that can be chosen. */
function made(next) {
  const one = (choices) => choices[next(choices.length)];
  const some = (least, make) => Array.from({ length: least + next(4) }, make);
  const text = () => some(1, () => one(PIECES)).join("");
  const maybe = (make) => (next(3) === 0 ? null : make());
  const whole = () => one([0, 1, next(100), next(1e9), 999_999_999_999_999]);
  return {
    run: maybe(text),
    tag: maybe(text),
    step: maybe(whole),
    otherRun: maybe(text),
    otherStep: maybe(whole),
    shows: one(["first", "second", "difference"]),
    heads: some(1, () => `${1 + next(99)}.${1 + next(999)}`),
    metric: one(["previous", "induction", text()]),
    sorted: next(2) === 1,
    direction: one(["from", "to"]),
    position: maybe(() => next(1000)),
    beside: maybe(() => next(1000)),
    values: next(2) === 1,
    sample: next(2) === 1,
    against: one(["entropy", text()]),
    columns: some(0, () => next(1000)),
  };
}

/** The view of an address that says only this. */
const said = (name, value) => viewOf(`#attention&p.attention.${name}=${value}`);

test("a link reopens the view it was made of", () => {
  const next = generator(1);
  for (let i = 0; i < 2000; i++) {
    const view = made(next);
    assert.deepEqual(viewOf(hashOf(view)), view);
  }
  assert.deepEqual(viewOf(hashOf(initialView())), initialView());
});

test("a link stays one through the browser's own reading of addresses", () => {
  const next = generator(2);
  for (let i = 0; i < 300; i++) {
    const view = made(next);
    const { hash } = new URL(`http://localhost:6006/?x=1${hashOf(view)}`);
    assert.deepEqual(viewOf(hash), view);
  }
});

test("a link names the tab, and only what is chosen", () => {
  const hash = hashOf({ ...initialView(), run: "a&b", step: 0 });
  assert.match(hash, /^#attention&p\.attention\.run=a%26b&p\.attention\.step=0&/);
  assert.doesNotMatch(hash, /tag|position|null/);
});

test("an address that says nothing gives the initial view", () => {
  const silent = [
    "",
    "#",
    "#attention",
    "#scalars&_smoothing=0.6",
    "#attention&",
    "#&&&===",
    "#attention&run=x&step=1",
  ];
  for (const hash of silent) assert.deepEqual(viewOf(hash), initialView(), hash);
});

test("what other plugins keep in the address is left alone", () => {
  assert.deepEqual(viewOf("#attention&_smoothing=0.6&p.other.run=x&p.attention.run=mine"), {
    ...initialView(),
    run: "mine",
  });
});

test("numbers that are none are as at first", () => {
  const wrong = [
    "",
    "-1",
    "1.5",
    "1e3",
    "0x10",
    "NaN",
    "Infinity",
    "null",
    "x",
    "%201",
    "1%00",
    "1234567890123456",
    "٣",
  ];
  for (const value of wrong)
    for (const name of ["step", "otherStep", "position"])
      assert.equal(said(name, value)[name], null, `${name}=${value}`);
});

test("choices that there are not are as at first", () => {
  for (const value of ["", "third", "First", "to%20", "constructor", "null"]) {
    assert.equal(said("shows", value).shows, "first");
    assert.equal(said("direction", value).direction, "from");
    assert.equal(said("sorted", value).sorted, false);
  }
});

test("heads that are none are left out, and all of them as at first", () => {
  for (const value of ["", ",", "x", "1", "1.", ".1", "1.2.3", "-1.1", "1,1", "1.1234", "%F0%9F%98%80"])
    assert.deepEqual(said("heads", value).heads, ["1.1"], value);
  assert.deepEqual(said("heads", "x,2.1,,3.4567,1.2").heads, ["2.1", "1.2"]);
});

test("columns may be none, and those that are no numbers are left out", () => {
  assert.deepEqual(said("columns", "").columns, []);
  assert.deepEqual(said("columns", "3,-1,x,1.5,7,123456").columns, [3, 7]);
});

test("columns that are all nonsense are as at first", () => {
  for (const value of ["x", "-1", "1.5", "x,y"]) assert.deepEqual(said("columns", value).columns, [0, 1, 8, 9], value);
});

test("no address is too strange to be read", () => {
  const next = generator(3);
  const pieces = [
    ...PIECES,
    "p.attention.",
    "heads",
    "step",
    "columns",
    "1.1",
    "%zz",
    "%F0%28",
    "\0",
    "\ud800",
    "&&",
    "==",
  ];
  const types = Object.entries(initialView()).map(([name, value]) => [name, Array.isArray(value)]);
  for (let i = 0; i < 3000; i++) {
    const hash = Array.from({ length: next(20) }, () => pieces[next(pieces.length)]).join("");
    const view = viewOf(next(2) === 0 ? hash : `#attention&${hash}`);
    for (const [name, list] of types) assert.equal(Array.isArray(view[name]), list, hash);
    assert.ok(view.heads.length > 0);
    assert.ok(view.columns.every(Number.isInteger));
    assert.ok([view.step, view.otherStep, view.position].every((n) => n === null || Number.isSafeInteger(n)));
  }
});

test("each initial view is one's own", () => {
  initialView().heads.push("2.2");
  initialView().columns.length = 0;
  assert.deepEqual([initialView().heads, initialView().columns], [["1.1"], [0, 1, 8, 9]]);
});
