// @ts-check
// All heads by two metrics at once.

import { at, axes, range } from "./curves.js";
import { createMenu, drawnButton, h, s } from "./dom.js";
import { lineColour } from "./encoding.js";
import { titleOf } from "./help.js";
import { chanceOf, metricsOf, valuesOf } from "./measures.js";

const SIZE = 420;
const [LEFT, RIGHT, TOP, BOTTOM] = [56, SIZE - 12, 14, SIZE - 38];

/**
 * @param {(name: string, added: boolean) => void} choose a head
 * @param {(metric: string) => void} against
 */
export function createScatter(choose, against) {
  const menu = createMenu("Against", against);
  const drawing = s("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, role: "group" });
  const note = h("p", { className: "hint" });
  const focused = () => /** @type {SVGElement | null} */ (document.activeElement?.closest(".point") ?? null);

  drawing.addEventListener("keydown", (event) => {
    if (!event.key.startsWith("Arrow") || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const on = event.key === "ArrowRight" || event.key === "ArrowUp";
    const next = /** @type {SVGElement | null} */ (focused()?.[on ? "nextElementSibling" : "previousElementSibling"]);
    if (next?.matches(".point")) next.focus();
  });

  return {
    element: h("div", { className: "scatter" }, menu.element, drawing, note),
    /**
     * @param {import("./gather.js").Side} side
     * @param {import("./view.js").View} view
     * @param {import("./colour.js").Theme} theme
     */
    draw(side, { metric, against, sample, heads }, theme) {
      const metrics = metricsOf(side, sample).filter((name) => name !== metric);
      const both = [metric, metrics.includes(against) ? against : (metrics[0] ?? against)];
      menu.show(
        metrics.map((name) => [name, titleOf(name)]),
        both[1],
      );
      const [xs, ys] = both.map((name) => valuesOf(side, name, sample) ?? new Float32Array());
      const [chanceX, chanceY] = both.map((name) => chanceOf(side, name, sample));
      const x = axisOf(both[0], [...xs, chanceX], LEFT, RIGHT);
      const y = axisOf(both[1], [...ys, chanceY], BOTTOM, TOP);
      const points = side.snapshot.names
        .map((name, i) => ({ name, numbers: [xs[i], ys[i]] }))
        .filter(({ numbers }) => numbers.every(Number.isFinite))
        .sort((a, b) => a.numbers[0] - b.numbers[0]); // the order of the arrow keys
      const none = both.every((name) => valuesOf(side, name, sample))
        ? `No head has both: one has no value in ${sample ? "the sample" : "this text"}.`
        : "One of these is measured at evaluations; by this step there is none.";
      note.textContent = points.length > 0 ? "Across: the metric of “Heads by”. Click a head to choose it." : none;
      drawing.toggleAttribute("hidden", points.length === 0);
      drawing.setAttribute("aria-label", `${y.name} against ${x.name}, ${points.length} heads`);
      const reachable = points.find(({ name }) => heads.includes(name)) ?? points[0];
      const drawn = points.map((point) => {
        const { name, numbers } = point;
        const chosen = heads.indexOf(name);
        const said = `head ${name}: ${numbers.map((number, i) => `${titleOf(both[i])} ${number.toFixed(3)}`).join(", ")}`;
        const attributes = {
          class: "point",
          transform: `translate(${at(x, numbers[0])} ${at(y, numbers[1])})`,
          tabindex: point === reachable ? 0 : -1,
          "aria-pressed": String(chosen >= 0),
          "data-point": name,
        };
        const circle = s("circle", chosen < 0 ? { r: 5 } : { r: 7, fill: lineColour(chosen, theme) });
        const label = s("text", { y: -10, class: "tick" }, name);
        return drawnButton(said, attributes, (e) => choose(name, e.ctrlKey || e.metaKey || e.shiftKey), circle, label);
      });
      const before = focused()?.dataset.point;
      const [left, top] = [at(x, chanceX), at(y, chanceY)];
      drawing.replaceChildren(
        ...axes(x, y),
        ...chanceLine(`M${left} ${TOP}V${BOTTOM}`, left, TOP - 3),
        ...chanceLine(`M${LEFT} ${top}H${RIGHT}`, RIGHT - 20, top < TOP + 24 ? top + 13 : top - 3), // not on the other
        ...drawn,
      );
      drawn.find(({ dataset }) => dataset.point === before)?.focus();
    },
  };
}

/**
 * An axis with room for the values and zero.
 * @param {string} metric
 * @param {number[]} values
 * @param {number} from
 * @param {number} to
 */
function axisOf(metric, values, from, to) {
  const [low, high] = range([0, ...values].filter(Number.isFinite));
  const room = 0.06 * (high - low || 1);
  return { name: titleOf(metric), from, to, low: low < 0 ? low - room : low, high: high + room };
}

/**
 * A line at the chance of a metric, if it is known.
 * @param {string} d
 * @param {number} x of its name
 * @param {number} y
 */
function chanceLine(d, x, y) {
  if (!Number.isFinite(x + y)) return [];
  return [s("path", { class: "chance", d }), s("text", { class: "axis", x, y }, "chance")];
}
