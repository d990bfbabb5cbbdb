// @ts-check
// A line chart: curves over steps or positions.

import { h, s } from "./dom.js";

/** @typedef {{name: string, points: [number, number][], colour?: string, dashed?: boolean, strong?: boolean}} Line */

const WIDTH = 900;
const HEIGHT = 260;
const LEFT = 56;
const BOTTOM = 38;
const TOP = 10;
const RIGHT = 12;

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

/**
 * The least and the greatest of them.
 * @param {number[]} numbers
 */
const range = (numbers) =>
  numbers.reduce(
    ([least, greatest], x) => [Math.min(least, x), Math.max(greatest, x)],
    [numbers[0] ?? 0, numbers[0] ?? 1],
  );

/** @param {(x: number) => void} [clicked] */
export function createChart(clicked) {
  const content = s("g");
  const moment = s("line", { class: "moment", y1: TOP, y2: HEIGHT - BOTTOM, hidden: "" });
  const drawing = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" }, content, moment);
  const pointed = h("p", { className: "pointed", "aria-live": "polite" });
  const key = h("p", { className: "key" }); // of the strong lines
  const element = h("div", { className: "chart" }, drawing, key, pointed);
  let [low, high] = [0, 1];
  const xOf = (/** @type {number} */ x) => LEFT + ((x - low) / (high - low || 1)) * (WIDTH - LEFT - RIGHT);

  drawing.addEventListener("click", (event) => {
    const box = drawing.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    if (clicked) clicked(low + ((x - LEFT) / (WIDTH - LEFT - RIGHT)) * (high - low));
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
     */
    draw(lines, xName, yName) {
      const all = lines.flatMap((line) => line.points);
      drawing.setAttribute("aria-label", `${yName} against ${xName}, ${lines.length} curves`);
      [low, high] = range(all.map(([x]) => x));
      let [bottom, top] = range([0, ...all.map(([, y]) => y)]);
      if (top === bottom) top = bottom + 1;
      const yOf = (/** @type {number} */ y) =>
        HEIGHT - BOTTOM - ((y - bottom) / (top - bottom)) * (HEIGHT - BOTTOM - TOP);
      const marks = [
        ...ticks(low, high, 8).flatMap((x) => [
          s("line", { class: "rule", x1: xOf(x), x2: xOf(x), y1: TOP, y2: HEIGHT - BOTTOM }),
          s("text", { class: "tick x", x: xOf(x), y: HEIGHT - BOTTOM + 14 }, x.toLocaleString("en")),
        ]),
        ...ticks(bottom, top, 5).flatMap((y) => [
          s("line", { class: "rule", x1: LEFT, x2: WIDTH - RIGHT, y1: yOf(y), y2: yOf(y) }),
          s("text", { class: "tick y", x: LEFT - 6, y: yOf(y) }, String(y)),
        ]),
        s("text", { class: "axis", x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6 }, xName),
        s("text", { class: "axis", transform: `translate(12 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)` }, yName),
      ];
      const drawn = lines.flatMap(({ name, points, colour, dashed, strong }) => {
        const path = points.map(([x, y]) => `${xOf(x).toFixed(1)},${yOf(y).toFixed(1)}`).join(" ");
        const line = s("polyline", { points: path, class: strong ? "line strong" : "line" });
        if (colour) line.style.stroke = colour;
        if (dashed) line.setAttribute("stroke-dasharray", "5 4");
        const target = s("polyline", { points: path, class: "target" }); // easier to point at
        target.dataset.name = name;
        return [line, target];
      });
      content.replaceChildren(...marks, ...drawn);
      const named = lines
        .filter(({ strong }) => strong)
        .map(({ name, colour = "", dashed }) => {
          const entry = h("span", {}, `${dashed ? "┄" : "━"} ${name}`);
          entry.style.color = colour;
          return entry;
        });
      key.replaceChildren(...named);
    },
    /** @param {number} x */
    mark(x) {
      moment.removeAttribute("hidden");
      for (const end of ["x1", "x2"]) moment.setAttribute(end, String(xOf(x)));
    },
  };
}
