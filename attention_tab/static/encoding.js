// @ts-check
// The positional encoding: a heat map of its table, and columns of it as curves.

import { lineColour } from "./colour.js";
import { createChart, ticks, WIDTH } from "./curves.js";
import { h, s } from "./dom.js";
import { createLegend } from "./maps.js";

/** @typedef {import("./format.js").Encoding} Encoding */
/** @typedef {import("./colour.js").Scale} Scale */

const HEIGHT = 300;
const [LEFT, TOP] = [56, 36]; // of the table

/** @param {(columns: number[]) => void} chosen columns to draw as curves */
export function createEncoding(chosen) {
  const canvas = h("canvas", { width: 1, height: 1, role: "img" });
  const axes = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}` });
  const name = h("p");
  const key = h("div");
  const chart = createChart();
  const onchange = () => chosen(numbers(input.value));
  const input = h("input", { type: "text", size: 24, onchange, "aria-label": "Columns" });
  const table = h("div", { className: "drawn table" }, canvas, axes);
  const hint = h("span", { className: "hint" }, "or click on them above");
  const label = h("label", {}, h("span", {}, "Columns as curves"), input, hint);
  let columns = /** @type {number[]} */ ([]);
  let count = 1;

  axes.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * count);
    if (column < 0 || column >= count) return;
    chosen(columns.includes(column) ? columns.filter((other) => other !== column) : [...columns, column]);
  });

  return {
    element: h("div", { className: "encoding" }, name, table, key, label, chart.element),
    /**
     * @param {Encoding} encoding
     * @param {number | null} step null if it does not change during training
     * @param {number[]} wanted
     * @param {Scale} scale
     * @param {import("./colour.js").Theme} theme
     */
    draw(encoding, step, wanted, scale, theme) {
      const { positions, values, largest } = encoding;
      count = encoding.columns.length;
      columns = wanted.filter((column) => column < count);
      name.textContent = `${encoding.name}${step === null ? "" : `; step ${step}`}`;
      canvas.setAttribute("aria-label", `Positional encoding, ${positions} positions, ${count} columns`);
      paint(canvas, encoding, scale);
      axes.replaceChildren(...ruled(positions, count, columns));
      const bound = largest.toPrecision(2);
      key.replaceChildren(createLegend({ what: "value", scale, marks: [`−${bound}`, "0", bound] }));
      if (document.activeElement !== input) input.value = columns.join(", "); // not while the user types in it
      const lines = columns.map((column, i) => {
        const point = (/** @type {number} */ position) => [position, values[position * count + column]];
        const points = /** @type {[number, number][]} */ ([...Array(positions).keys()].map(point));
        const name = `column ${column}: ${encoding.columns[column]}`;
        return { name, points, colour: lineColour(i, theme), strong: true };
      });
      chart.draw(lines, "position", "value");
    },
  };
}

/** @param {string} text */
const numbers = (text) => (text.match(/\d+/g) ?? []).map(Number);

/** @param {HTMLCanvasElement} canvas @param {Encoding} encoding @param {Scale} scale */
function paint(canvas, { positions, columns, values, largest }, scale) {
  canvas.width = columns.length;
  canvas.height = positions;
  const image = new ImageData(columns.length, positions);
  const pixels = new Uint32Array(image.data.buffer);
  const colours = new Uint32Array(scale.buffer);
  for (let i = 0; i < values.length; i++) pixels[i] = colours[Math.round(127.5 * (1 + values[i] / largest))];
  canvas.getContext("2d")?.putImageData(image, 0, 0);
}

/**
 * The axes, and marks above the chosen columns.
 * @param {number} positions
 * @param {number} count
 * @param {number[]} chosen
 */
function ruled(positions, count, chosen) {
  const x = (/** @type {number} */ column) => LEFT + ((column + 0.5) / count) * (WIDTH - LEFT);
  const y = (/** @type {number} */ position) => TOP + ((position + 0.5) / positions) * (HEIGHT - TOP);
  const some = (/** @type {number} */ length) => ticks(0, length - 1, 8).filter(Number.isInteger);
  return [
    ...some(count).map((column) => s("text", { class: "tick x", x: x(column), y: TOP - 8 }, String(column))),
    ...some(positions).map((position) => s("text", { class: "tick y", x: LEFT - 6, y: y(position) }, String(position))),
    s("text", { class: "axis", x: (LEFT + WIDTH) / 2, y: 11 }, "column"),
    s("text", { class: "axis", transform: `translate(12 ${(TOP + HEIGHT) / 2}) rotate(-90)` }, "position"),
    ...chosen.map((column) => s("path", { class: "chosen", d: `M${x(column) - 4} ${TOP - 7}h8l-4 6z` })),
  ];
}
