// @ts-check
// Characters made visible. Pure; they are shown through textContent only.

/** @type {Record<string, string>} */
const MARKS = { "\n": "⏎", " ": "·", "\t": "→", "\r": "␍", "\u00a0": "⍽", "\u007f": "␡" };
const COMBINING = /^\p{Mark}$/u;

/**
 * A visible character that does not disturb the line: white space and control characters as a mark, other invisible
 * ones as their code point, and combining ones on a circle.
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
 * Visible, and followed by its name if it is a mark.
 * @param {string} character
 */
export function named(character) {
  /** @type {Record<string, string>} */
  const names = { "\n": "new line", " ": "space", "\t": "tab" };
  return Object.hasOwn(names, character) ? `${visible(character)} (${names[character]})` : visible(character);
}

/**
 * The characters before and after a position.
 * @param {string[]} tokens
 * @param {number} position
 * @param {number} [around]
 */
export function surroundings(tokens, position, around = 5) {
  const shown = (/** @type {string[]} */ part) => part.map(visible).join("");
  return {
    before: shown(tokens.slice(Math.max(0, position - around), position)),
    after: shown(tokens.slice(position + 1, position + 1 + around)),
  };
}
