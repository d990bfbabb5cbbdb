// @ts-check
// Characters as they can be seen. Pure; whoever shows them uses textContent and nothing else.

/** @type {Record<string, string>} */
const MARKS = { "\n": "⏎", " ": "·", "\t": "→", "\r": "␍", "\u00a0": "⍽", "\u007f": "␡" };
const COMBINING = /^\p{Mark}$/u;

/**
 * A character as something that takes up space and harms no line: white space and control characters by a mark,
 * others that show nothing by their codepoint, and combining ones on a circle.
 * @param {string} character
 */
export function visible(character) {
  const code = character.codePointAt(0) ?? 0;
  if (Object.hasOwn(MARKS, character)) return MARKS[character];
  if (code < 32) return String.fromCodePoint(0x2400 + code);
  if (COMBINING.test(character)) return `◌${character}`;
  if (/^[\p{Control}\p{Format}\p{Surrogate}\p{Unassigned}\p{Separator}]$/u.test(character)) {
    return `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
  }
  return character;
}

/**
 * In a sentence: visible, and named if it is a mark.
 * @param {string} character
 */
export function named(character) {
  /** @type {Record<string, string>} */
  const names = { "\n": "new line", " ": "space", "\t": "tab" };
  return Object.hasOwn(names, character) ? `${visible(character)} (${names[character]})` : visible(character);
}

/**
 * Some characters before and after a place, to tell it from others.
 * @param {string[]} tokens
 * @param {number} place
 * @param {number} [around]
 */
export function surroundings(tokens, place, around = 5) {
  const shown = (/** @type {string[]} */ part) => part.map(visible).join("");
  return {
    before: shown(tokens.slice(Math.max(0, place - around), place)),
    after: shown(tokens.slice(place + 1, place + 1 + around)),
  };
}
