// @ts-check
// A line chart: curves over steps or positions.

import { h, s } from "./dom.js";

/** @typedef {{name: string, points: [number, number][], colour?: string, dashed?: boolean, strong?: boolean}} Line */

/** `from` and `to`: the positions of `low` and `high` in the drawing. @typedef {{name: string, from: number, to: number, low: number, high: number}} Axis */

export const WIDTH = 900;
const [LEFT, RIGHT, TOP, BOTTOM] = [56, 12, 10, 38]; // around the lines

/**
 * Round numbers between `low` and `high`, about `count` of them.
 * @param {number} low
 * @param {number} high
 * @param {number} count
 */
export function ticks(low, high, count) {
  if (!(high > low)) return [low];
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const unit = power * ([1, 2, 5].find((factor) => factor * power >= raw) ?? 10);
  const first = Math.ceil(low / unit - 1e-9);
  const last = Math.floor(high / unit + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * unit).toPrecision(12)));
}

/** The least and the greatest of them. @param {number[]} numbers @returns {[number, number]} */
export const range = (numbers) => [
  numbers.reduce((a, b) => Math.min(a, b), numbers[0] ?? 0),
  numbers.reduce((a, b) => Math.max(a, b), numbers[0] ?? 1),
];

/** The horizontal axis of every chart. @param {string} name @param {[number, number]} range @returns {Axis} */
export const across = (name, [low, high]) => ({ name, from: LEFT, to: WIDTH - RIGHT, low, high });

/** The position of a value. @param {Axis} axis @param {number} value */
export const at = ({ from, to, low, high }, value) => from + ((value - low) / (high - low || 1)) * (to - from);

/** Rules, numbers and names of both axes. @param {Axis} x @param {Axis} y */
export function axes(x, y) {
  return [
    ...ticks(x.low, x.high, Math.round((x.to - x.from) / 100)).flatMap((value) => [
      s("line", { class: "rule", x1: at(x, value), x2: at(x, value), y1: y.from, y2: y.to }),
      s("text", { class: "tick x", x: at(x, value), y: y.from + 14 }, value.toLocaleString("en")),
    ]),
    ...ticks(y.low, y.high, Math.round((y.from - y.to) / 42)).flatMap((value) => [
      s("line", { class: "rule", x1: x.from, x2: x.to, y1: at(y, value), y2: at(y, value) }),
      s("text", { class: "tick y", x: x.from - 6, y: at(y, value) }, String(value)),
    ]),
    s("text", { class: "axis", x: (x.from + x.to) / 2, y: y.from + 32 }, x.name),
    s("text", { class: "axis", transform: `translate(12 ${(y.from + y.to) / 2}) rotate(-90)` }, y.name),
  ];
}

/** @param {(x: number) => void} [clicked] @param {number} [height] */
export function createChart(clicked, height = 260) {
  const content = s("g");
  const moment = s("line", { class: "moment", y1: TOP, y2: height - BOTTOM, hidden: "" });
  const drawing = s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img" }, content, moment);
  const pointed = h("p", { className: "pointed", "aria-live": "polite" });
  const key = h("p", { className: "key" }); // of the strong lines
  const element = h("div", { className: "chart" }, drawing, key, pointed);
  let x = across("", [0, 1]);

  drawing.addEventListener("click", (event) => {
    const box = drawing.getBoundingClientRect();
    const share = (((event.clientX - box.left) / box.width) * WIDTH - x.from) / (x.to - x.from);
    if (clicked) clicked(x.low + share * (x.high - x.low));
  });
  drawing.addEventListener("pointerover", (event) => {
    pointed.textContent = /** @type {SVGElement} */ (event.target).dataset.name ?? "";
  });

  return {
    element,
    /**
     * @param {Line[]} lines strong ones last, drawn over the others
     * @param {string} xName
     * @param {string} yName
     * @param {[number, number]} [span] of the horizontal axis, or that of the lines
     */
    draw(lines, xName, yName, span) {
      const all = lines.flatMap((line) => line.points);
      drawing.setAttribute("aria-label", `${yName} against ${xName}, ${lines.length} curves`);
      x = across(xName, span ?? range(all.map(([x]) => x)));
      const [low, high] = range([0, ...all.map(([, y]) => y)]);
      const y = { name: yName, from: height - BOTTOM, to: TOP, low, high: high === low ? low + 1 : high };
      const drawn = lines.flatMap(({ name, points, colour = "", dashed, strong }) => {
        const path = points.map((point) => `${at(x, point[0]).toFixed(1)},${at(y, point[1]).toFixed(1)}`).join(" ");
        const line = s("polyline", { points: path, class: strong ? "line strong" : "line" });
        line.style.cssText = `stroke: ${colour}; stroke-dasharray: ${dashed ? "5 4" : "none"}`;
        return [line, s("polyline", { points: path, class: "target", "data-name": name })]; // easier to point at
      });
      content.replaceChildren(...axes(x, y), ...drawn);
      const entry = (/** @type {Line} */ { name, colour, dashed }) =>
        h("span", { style: `color: ${colour}` }, `${dashed ? "┄" : "━"} ${name}`);
      key.replaceChildren(...lines.filter(({ strong }) => strong).map(entry));
    },
    /** @param {number} value on the horizontal axis */
    mark(value) {
      moment.removeAttribute("hidden");
      for (const end of ["x1", "x2"]) moment.setAttribute(end, String(at(x, value)));
    },
  };
}
