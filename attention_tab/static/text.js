// @ts-check
// Characters made visible. Pure; they are shown through textContent only.

/** @type {Record<string, string>} */
const MARKS = { "\n": "⏎", " ": "·", "\t": "→", "\r": "␍", "\u00a0": "⍽", "\u007f": "␡" };
const COMBINING = /^\p{Mark}$/u;
/** Bytes of one character, where each byte is a token: those that are not ASCII are U+DC80 to U+DCFF (PEP 383). */
const BYTES = /[\udcc2-\udcdf][\udc80-\udcbf]|[\udce0-\udcef][\udc80-\udcbf]{2}|[\udcf0-\udcf4][\udc80-\udcbf]{3}/g;

/**
 * A visible character that does not disturb the line: white space and control characters as a mark, other invisible
 * ones as their code point, bytes of a model of bytes as \xd0, and combining ones on a circle.
 * @param {string} character
 */
export function visible(character) {
  const code = character.codePointAt(0) ?? 0;
  if (Object.hasOwn(MARKS, character)) return MARKS[character];
  if (code < 32) return String.fromCodePoint(0x2400 + code);
  if (code >= 0xdc80 && code <= 0xdcff) return `\\x${(code - 0xdc00).toString(16)}`;
  if (COMBINING.test(character)) return `◌${character}`;
  if (/^[\p{Control}\p{Format}\p{Surrogate}\p{Unassigned}\p{Separator}]$/u.test(character)) {
    return `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
  }
  return character;
}

/** Visible, and followed by its name if it is a mark. @param {string} character */
export function named(character) {
  /** @type {Record<string, string>} */
  const names = { "\n": "new line", " ": "space", "\t": "tab" };
  return Object.hasOwn(names, character) ? `${visible(character)} (${names[character]})` : visible(character);
}

/** Visible characters in a row; bytes are joined to characters. @param {string[]} tokens */
export function joined(tokens) {
  const decoded = (/** @type {string} */ bytes) =>
    new TextDecoder().decode(Uint8Array.from([...bytes], (byte) => byte.charCodeAt(0) - 0xdc00));
  return [...tokens.join("").replace(BYTES, decoded)].map(visible).join("");
}

/**
 * The characters before and after a position.
 * @param {string[]} tokens
 * @param {number} position
 * @param {number} [around]
 */
export function surroundings(tokens, position, around = 5) {
  return {
    before: joined(tokens.slice(Math.max(0, position - around), position)),
    after: joined(tokens.slice(position + 1, position + 1 + around)),
  };
}
