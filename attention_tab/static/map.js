// @ts-check
// A large attention map: queries down, keys across, empty above the diagonal.

import { h, s } from "./dom.js";
import { visible } from "./text.js";

/** @typedef {import("./colour.js").Scale} Scale */
/** @typedef {(query: number, key: number) => void} Pointed */

const SIDE = 512; // of the map, in SVG units
const MARGIN = 40; // above and left of it, for the characters
const READABLE = 7; // units a label takes at least; below, only some positions are labelled
const TICKS = 8; // labels, if not all fit

let image = /** @type {ImageData | null} */ (null); // of the last map: one for each would be 10 MB a step

/**
 * One pixel for each weight.
 * @param {HTMLCanvasElement} canvas
 * @param {number} T
 * @param {Uint8Array} levels of the lower triangle, row by row
 * @param {Scale} scale
 */
export function paint(canvas, T, levels, scale) {
  if (canvas.width !== T) canvas.width = canvas.height = T;
  if (image?.width !== T) image = new ImageData(T, T);
  const pixels = new Uint32Array(image.data.buffer);
  const colours = new Uint32Array(scale.buffer);
  let from = 0;
  for (let query = 0; query < T; query++) {
    for (let key = 0; key <= query; key++) pixels[query * T + key] = colours[levels[from++]];
  }
  canvas.getContext("2d")?.putImageData(image, 0, 0);
}

/**
 * A large map with its axes, which marks the hovered position.
 * @param {Pointed} hovered
 * @param {Pointed} clicked
 */
export function createMap(hovered, clicked) {
  const canvas = h("canvas", { width: 1, height: 1, role: "img" });
  const whole = MARGIN + SIDE;
  const axes = s("g");
  const cross = s("rect", { class: "cross" });
  const cell = s("rect", { class: "cell" });
  const drawing = s("svg", { viewBox: `0 0 ${whole} ${whole}` }, axes, cross, cell);
  const caption = h("figcaption");
  const below = h("p", { className: "effect" });
  const element = h("figure", { className: "map" }, caption, h("div", { className: "drawn" }, canvas, drawing), below);
  let T = 1;
  let labelled = "";

  const locating = (/** @type {Pointed} */ callback) => (/** @type {MouseEvent} */ event) => {
    const box = canvas.getBoundingClientRect();
    const key = Math.floor(((event.clientX - box.left) / box.width) * T);
    const query = Math.floor(((event.clientY - box.top) / box.height) * T);
    if (key >= 0 && key <= query && query < T) callback(query, key);
  };
  drawing.addEventListener("pointermove", locating(hovered));
  drawing.addEventListener("click", locating(clicked));

  return {
    element,
    canvas,
    drawing,
    title: () => caption.textContent ?? "",
    /**
     * @param {string} title
     * @param {string[]} tokens
     * @param {Uint8Array} levels
     * @param {Scale} scale
     * @param {string} [effect] of the head
     */
    draw(title, tokens, levels, scale, effect = "") {
      caption.textContent = title;
      below.textContent = effect;
      canvas.setAttribute("aria-label", `Attention map, ${title}`);
      const text = JSON.stringify(tokens);
      if (labelled !== text) {
        T = tokens.length;
        labelled = text;
        axes.replaceChildren(...labels(tokens));
      }
      paint(canvas, T, levels, scale);
    },
    /**
     * @param {number | null} position whose row or column is marked
     * @param {number | null} other position of a key of that query, or a query of that key
     * @param {import("./attention.js").Direction} direction
     */
    mark(position, other, direction) {
      const from = direction === "from";
      const y = position !== null && position < T ? position : null;
      const [query, key] = from ? [y, other] : [other, y];
      const there = query !== null && key !== null && key <= query && query < T;
      frame(cross, y === null ? [] : from ? [0, y, y + 1, 1] : [y, y, 1, T - y], SIDE / T);
      frame(cell, there ? [key, query, 1, 1] : [], SIDE / T);
    },
  };
}

/**
 * Frame some cells of a map, leaving them visible.
 * @param {SVGRectElement} rectangle
 * @param {number[]} cells x, y, width and height; or none
 * @param {number} unit
 */
function frame(rectangle, cells, unit) {
  rectangle.toggleAttribute("hidden", cells.length === 0);
  for (const [i, count] of cells.entries())
    rectangle.setAttribute(["x", "y", "width", "height"][i], String(count * unit + (i < 2 ? MARGIN - 1 : 2)));
}

/**
 * Every character along both axes if there is room, or else some positions.
 * @param {string[]} tokens
 */
function labels(tokens) {
  const unit = SIDE / tokens.length;
  const all = unit >= READABLE;
  const every = all ? 1 : Math.ceil(tokens.length / TICKS);
  const size = all ? Math.min(unit, 13) : 11;
  const middle = MARGIN + SIDE / 2;
  const named = [
    s("text", { x: middle, y: 11, class: "axis" }, "key: the character attended to"),
    s("text", { transform: `translate(11 ${middle}) rotate(-90)`, class: "axis" }, "query: the character that attends"),
  ];
  for (let position = 0; position < tokens.length; position += every) {
    const at = MARGIN + (position + 0.5) * unit;
    const text = all ? visible(tokens[position]) : String(position);
    const long = all && text.length > 2; // a code: small, and upright where it would run into the next one
    const font = { "font-size": long ? Math.min(size, 9) : size };
    const upright = long && unit < 26;
    const transform = `translate(${at + (upright ? 3 : 0)} ${MARGIN - (upright ? 15 : 6)}) rotate(${upright ? -90 : 0})`;
    named.push(
      s("text", { transform, ...font, class: "key" }, text),
      s("text", { x: MARGIN - 5, y: at, ...font, class: "query" }, text),
    );
  }
  return named;
}
