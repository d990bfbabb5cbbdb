// @ts-check
// The current view as an SVG without style sheet, and as PNG.

import { css, ink } from "./colour.js";
import { h, s } from "./dom.js";
import { colours, LARGEST_LOSS } from "./maps.js";
import { outerDocument } from "./outside.js";
import { visible } from "./text.js";

/** @typedef {import("./colour.js").Scale} Scale */
/** @typedef {Record<string, string | number>} Attributes */
/** @typedef {{names: string[][], canvas: ReturnType<typeof import("./heads.js").createHeads>["canvas"], chosen: string[]}} Heads */
/** `values`: its weight with each character. @typedef {{position: number | null, values: Float32Array | null}} Current */
/** @typedef {Current & {snapshot: import("./format.js").Snapshot, weights: Scale, losses: Scale}} Text */

const PAD = 20;
const THUMB = 88; // a small map, and with its name
const CELL = { width: THUMB + 8, height: THUMB + 24 };
const MAP = 552; // a map with its axes, as it is drawn
const INNER = 512; // of that the weights
const STRIP = 240; // the colours of a legend
const CHARACTER = 10;
const LINE = 26;
const ROW = 90; // characters at most
const SVG = "http://www.w3.org/2000/svg";
const FONT = { "font-family": "monospace", "font-size": 14, "text-anchor": "middle" };

/** Characters of double width, roughly: East Asian ones, and emoji. */
const WIDE =
  /^[\p{Emoji_Presentation}\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\uff01-\uff60]$/u;

/** A colour of the page's style sheet. @param {string} name */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** @param {{titles: string[], heads: Heads, maps: import("./maps.js").Shown[], text: Text}} shown */
export function pictureOf({ titles, heads, maps, text }) {
  const left = Math.max(...heads.names.map((row) => row.length)) * CELL.width;
  const top = PAD + 10 + 20 * titles.length;
  const textTop = top + Math.max(heads.names.length * CELL.height, MAP + 70) + PAD;
  const written = writtenText(text, textTop);
  const width = Math.max(
    PAD * 3 + left + maps.length * (MAP + PAD),
    2 * PAD + ROW * CHARACTER,
    2 * PAD + 9 * Math.max(...titles.map((title) => title.length)),
  );
  const height = textTop + written.height + PAD;
  const font = { "font-size": 15, "font-weight": "bold" };
  return s(
    "svg",
    { xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}`, "font-family": "sans-serif" },
    s("rect", { width, height, fill: colour("--paper") }),
    ...titles.map((title, i) => label(title, { x: PAD, y: PAD + 8 + 20 * i, ...font })),
    ...heads.names.flatMap((row, y) =>
      row.flatMap((name, x) => smallMap(heads, name, PAD + x * CELL.width, top + y * CELL.height)),
    ),
    ...maps.flatMap((map, i) => largeMap(map, PAD * 2 + left + i * (MAP + PAD), top)),
    ...written.nodes,
  );
}

/** @param {string} text @param {Attributes} attributes */
const label = (text, attributes) => s("text", { fill: colour("--ink"), "font-size": 11, ...attributes }, text);

/** @param {HTMLCanvasElement} canvas @param {Attributes} box */
const pixels = (canvas, box) => s("image", { ...box, href: canvas.toDataURL(), style: "image-rendering: pixelated" });

/** @param {Heads} heads @param {string} name @param {number} x @param {number} y */
function smallMap({ canvas, chosen }, name, x, y) {
  const box = { x, y, width: THUMB, height: THUMB };
  const [stroke, thickness] = chosen.includes(name) ? [colour("--accent"), 3] : [colour("--faint"), 1];
  return [
    s("rect", { ...box, fill: "none", stroke, "stroke-width": thickness }),
    pixels(canvas(name), box),
    label(name, { x, y: y + THUMB + 13 }),
  ];
}

/**
 * A map with its axes, and the legend below it.
 * @param {import("./maps.js").Shown} map
 * @param {number} x
 * @param {number} y
 */
function largeMap({ canvas, drawing, title, legend: { what, scale, marks } }, x, y) {
  const drawn = /** @type {SVGSVGElement} */ (drawing.cloneNode(true));
  for (const part of drawn.querySelectorAll("[hidden]")) part.remove();
  for (const mark of drawn.querySelectorAll("rect"))
    set(mark, { fill: "none", stroke: colour("--accent"), "stroke-width": 2 });
  for (const text of drawn.querySelectorAll("text")) {
    const kind = text.getAttribute("class");
    set(text, { fill: colour("--ink"), "text-anchor": kind === "query" ? "end" : "middle" });
    set(text, kind === "axis" ? { "font-size": 11 } : { "font-family": "monospace" });
    if (kind === "query") set(text, { "dominant-baseline": "central" });
  }
  set(drawn, { x, y: y + 16, width: MAP, height: MAP });
  drawn.prepend(pixels(canvas, { x: MAP - INNER, y: MAP - INNER, width: INNER, height: INNER }));
  const left = x + MAP - INNER;
  const fills = colours(scale, 48);
  const step = STRIP / fills.length;
  return [
    label(title(), { x: left, y: y + 8, "font-size": 13 }),
    drawn,
    ...fills.map((fill, i) => s("rect", { x: left + i * step, y: y + MAP + 26, width: step + 0.5, height: 10, fill })),
    label(what, { x: left + STRIP + 14, y: y + MAP + 35 }),
    ...marks.map((mark, i) =>
      label(mark, { x: left + (i * STRIP) / (marks.length - 1), y: y + MAP + 50, "text-anchor": "middle" }),
    ),
  ];
}

/** @param {Element} element @param {Attributes} attributes */
function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
}

/** The text with its weights and losses, from `top` on. @param {Text} text @param {number} top */
function writtenText({ snapshot: { tokens, loss }, position, values, weights, losses }, top) {
  const nodes = [];
  let [column, line] = [0, 0];
  for (const [i, token] of tokens.entries()) {
    const shown = visible(token);
    const wide = WIDE.test(shown) ? 2 : Math.max(1, [...shown].length);
    if (column + wide > ROW) [column, line] = [0, line + 1];
    const [x, y, width] = [PAD + column * CHARACTER, top + line * LINE, wide * CHARACTER];
    const rect = (/** @type {Attributes} */ attributes) => s("rect", { x, y, width, height: 20, ...attributes });
    const share = Math.sqrt(values?.[i] ?? 0);
    if (share > 0) nodes.push(rect({ fill: css(weights, share) }));
    if (Number.isFinite(loss[i]))
      nodes.push(rect({ x: x + 1, y: y + 20, width: width - 2, height: 3, fill: css(losses, loss[i] / LARGEST_LOSS) }));
    if (i === position) nodes.push(rect({ fill: "none", stroke: colour("--accent"), "stroke-width": 2 }));
    const fill = share > 0 ? ink(weights, share) : colour("--ink");
    nodes.push(label(shown, { x: x + width / 2, y: y + 15, ...FONT, fill }));
    [column, line] = token === "\n" ? [0, line + 1] : [column + wide, line];
  }
  return { nodes, height: (line + 1) * LINE };
}

/** @param {SVGSVGElement} svg */
const source = (svg) => new XMLSerializer().serializeToString(svg);

/** @param {SVGSVGElement} svg */
export const svgBlob = (svg) => new Blob([source(svg)], { type: "image/svg+xml" });

/** @param {SVGSVGElement} svg @returns {Promise<Blob>} */
export async function pngBlob(svg) {
  const image = new Image();
  // Not a blob URL: Chromium would let no pixel of such a picture be read.
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(source(svg))}`;
  await image.decode();
  const canvas = h("canvas", { width: svg.width.baseVal.value * 2, height: svg.height.baseVal.value * 2 });
  canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  /** @type {Blob | null} */
  const blob = await new Promise((resolve) => canvas.toBlob(resolve));
  if (!blob) throw new Error("The browser could not make a PNG of this view.");
  return blob;
}

/** @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const link = outerDocument().createElement("a");
  Object.assign(link, { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
