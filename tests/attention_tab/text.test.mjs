import assert from "node:assert/strict";
import { test } from "node:test";
import { named, surroundings, visible } from "../../attention_tab/static/text.js";

const shown = (...characters) => characters.map(visible);

test("white space is shown by marks", () => {
  assert.deepEqual(shown("\n", " ", "\t", "\r", "\u00a0"), ["⏎", "·", "→", "␍", "⍽"]);
});

test("white space of other scripts is shown too", () => {
  const spaces = ["\u1680", "\u2002", "\u2003", "\u2009", "\u200a", "\u202f", "\u205f", "\u3000"];
  for (const space of spaces) assert.doesNotMatch(visible(space), /\s/, space.codePointAt(0).toString(16));
});

test("control characters are shown by a picture or their codepoint", () => {
  assert.deepEqual(shown("\0", "\x07", "\v", "\x1b", "\x1f", "\x7f"), ["␀", "␇", "␋", "␛", "␟", "␡"]);
  assert.deepEqual(shown("\x80", "\x85", "\x9f"), ["U+0080", "U+0085", "U+009F"]);
});

test("what would turn the line around is shown by its codepoint", () => {
  const bidi = [0x061c, 0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069];
  for (const code of bidi)
    assert.equal(visible(String.fromCodePoint(code)), `U+${code.toString(16).toUpperCase().padStart(4, "0")}`);
});

test("what shows nothing is shown by its codepoint", () => {
  assert.deepEqual(shown("\u00ad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u{e0041}"), [
    "U+00AD",
    "U+200B",
    "U+200C",
    "U+200D",
    "U+2060",
    "U+FEFF",
    "U+E0041",
  ]);
  assert.deepEqual(shown("\u2028", "\u2029"), ["U+2028", "U+2029"]);
  assert.deepEqual(shown("\uffff", "\u0378", "\u{10ffff}"), ["U+FFFF", "U+0378", "U+10FFFF"]);
});

test("halves of surrogate pairs are shown by their codepoint", () => {
  assert.deepEqual(shown("\ud800", "\udbff", "\udc00", "\udfff"), ["U+D800", "U+DBFF", "U+DC00", "U+DFFF"]);
});

test("bytes that are not ASCII are shown as in Python, and as characters in what is around", () => {
  assert.deepEqual(shown("\udc80", "\udcd0", "\udcff"), ["\\x80", "\\xd0", "\\xff"]);
  const byte = (/** @type {number} */ one) => String.fromCharCode(one < 128 ? one : 0xdc00 + one);
  const tokens = [...Buffer.from("кa💀")].map(byte);
  assert.deepEqual(surroundings(tokens, 1), { before: "\\xd0", after: "a💀" });
  assert.deepEqual(surroundings(tokens, 4), { before: "кa\\xf0", after: "\\x92\\x80" });
  assert.deepEqual(surroundings([..."a💀💀"], 0), { before: "", after: "💀💀" });
});

test("combining marks stand on a circle", () => {
  assert.deepEqual(shown("\u0301", "\u20dd", "\u0903", "\ufe0f", "\u{1d165}"), [
    "◌\u0301",
    "◌\u20dd",
    "◌\u0903",
    "◌\ufe0f",
    "◌\u{1d165}",
  ]);
});

test("letters of any script, emoji and markup stay as they are", () => {
  for (const character of [..."aZ0é漢ひ한אع𝔸😀👍⏎·<script>&\"'`/=\ufffd"]) assert.equal(visible(character), character);
});

test("the names of an object's own properties are no characters with marks", () => {
  for (const name of ["constructor", "__proto__", "toString"]) {
    assert.equal(visible(name), name);
    assert.equal(named(name), name);
  }
});

test("in a sentence marks are named", () => {
  assert.deepEqual(["\n", " ", "\t", "a", "\u202e"].map(named), [
    "⏎ (new line)",
    "· (space)",
    "→ (tab)",
    "a",
    "U+202E",
  ]);
});

test("a position is shown among what is around it, up to the ends of the text", () => {
  const tokens = [..."one\n<b> \u202etwo"];
  assert.deepEqual(surroundings(tokens, 4, 3), { before: "ne⏎", after: "b>·" });
  assert.deepEqual(surroundings(tokens, 1, 3), { before: "o", after: "e⏎<" });
  assert.deepEqual(surroundings(tokens, 0, 3), { before: "", after: "ne⏎" });
  assert.deepEqual(surroundings(tokens, tokens.length - 1, 3), { before: "U+202Etw", after: "" });
  assert.deepEqual(surroundings(tokens, 6, 6), { before: "one⏎<b", after: "·U+202Etwo" });
  assert.deepEqual(surroundings(["a"], 0, 3), { before: "", after: "" });
});
