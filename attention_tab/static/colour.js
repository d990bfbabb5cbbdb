// @ts-check
// Colour scales, perceptually uniform and safe for the colour blind: lightness, or the distance from the neutral middle,
// changes evenly in OKLab (Ottosson 2020). Pure.

/** @typedef {Uint8ClampedArray} Scale 256 colours of four bytes each */
/** @typedef {"light" | "dark"} Theme */

/**
 * @param {number} lightness from 0 to 1
 * @param {number} chroma
 * @param {number} hue in degrees
 * @returns {[number, number, number]} sRGB, each from 0 to 255
 */
export function oklch(lightness, chroma, hue) {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  const [red, green, blue] = linear.map((x) => {
    const clipped = Math.min(1, Math.max(0, x));
    return 255 * (clipped <= 0.0031308 ? 12.92 * clipped : 1.055 * clipped ** (1 / 2.4) - 0.055);
  });
  return [red, green, blue];
}

/** @param {(share: number) => [number, number, number]} colour @returns {Scale} */
function scale(colour) {
  const table = new Uint8ClampedArray(4 * 256);
  for (let i = 0; i < 256; i++) table.set([...colour(i / 255), 255], 4 * i);
  return table;
}

/**
 * From 0, near the page's own colour, to 1.
 * @param {Theme} theme
 * @param {number} hue
 */
export function sequential(theme, hue) {
  const [low, high] = theme === "light" ? [0.98, 0.3] : [0.22, 0.93];
  return scale((share) => oklch(low + (high - low) * share, 0.13 * Math.sin(0.8 * Math.PI * share), hue));
}

/** From -1, blue, through the page's own colour to 1, orange. @param {Theme} theme */
export function diverging(theme) {
  const [middle, end] = theme === "light" ? [0.98, 0.48] : [0.22, 0.76];
  return scale((share) => {
    const far = Math.abs(2 * share - 1);
    return oklch(middle + (end - middle) * far, 0.14 * far, share < 0.5 ? 255 : 55);
  });
}

/** Colours of lines, which differ in lightness as well as in hue. @param {number} i @param {Theme} theme */
export function lineColour(i, theme) {
  const lightness = (theme === "light" ? 0.45 : 0.7) + 0.08 * ((i % 3) - 1);
  return rgb(oklch(lightness, 0.13, (255 + 137.5 * i) % 360).map(Math.round));
}

/** @param {number[]} channels */
const rgb = ([red, green, blue]) => `rgb(${red} ${green} ${blue})`;

/** @param {Scale} table @param {number} share from 0 to 1 */
function channels(table, share) {
  const at = 4 * Math.round(255 * Math.min(1, Math.max(0, share)));
  return [table[at], table[at + 1], table[at + 2]];
}

/** @param {Scale} table @param {number} share from 0 to 1 */
export const css = (table, share) => rgb(channels(table, share));

/**
 * Black or white, whichever is readable on a colour of the scale.
 * @param {Scale} table
 * @param {number} share
 */
export function ink(table, share) {
  const [red, green, blue] = channels(table, share).map((channel) => (channel / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 ? "#000" : "#fff";
}
