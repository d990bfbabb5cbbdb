// @ts-check
// All heads by two metrics at once.

import { lineColour } from "./colour.js";
import { at, axes, range } from "./curves.js";
import { createMenu, drawnButton, h, isAdding, onArrows, s } from "./dom.js";
import { titleOf } from "./help.js";
import { chanceOf, metricsOf, valuesOf } from "./measured.js";

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

  onArrows(drawing, (right, down) => {
    const next = focused()?.[right > down ? "nextElementSibling" : "previousElementSibling"];
    if (next?.matches(".point")) /** @type {SVGElement} */ (next).focus();
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
      const upwards = metrics.includes(against) ? against : (metrics[0] ?? against);
      menu.show(
        metrics.map((name) => [name, titleOf(name)]),
        upwards,
      );
      const both = [metric, upwards].map((name) => {
        const values = valuesOf(side, name, sample) ?? new Float32Array();
        return { title: titleOf(name), values, chance: chanceOf(side, name, sample) };
      });
      const [x, y] = [axisOf(both[0], LEFT, RIGHT), axisOf(both[1], BOTTOM, TOP)];
      const points = side.snapshot.names
        .map((name, head) => ({ name, numbers: both.map(({ values }) => values[head]) }))
        .filter(({ numbers }) => numbers.every(Number.isFinite))
        .sort((a, b) => a.numbers[0] - b.numbers[0]); // the order of the arrow keys
      const none = both.every(({ values }) => values.length > 0)
        ? `No head has both: one has no value in ${sample ? "the sample" : "this text"}.`
        : "One of these is measured at evaluations; by this step there is none.";
      note.textContent = points.length > 0 ? "Across: the metric of “Heads by”. Click a head to choose it." : none;
      drawing.toggleAttribute("hidden", points.length === 0);
      drawing.setAttribute("aria-label", `${y.name} against ${x.name}, ${points.length} heads`);
      const reachable = points.find(({ name }) => heads.includes(name)) ?? points[0];
      const drawn = points.map((point) => {
        const { name, numbers } = point;
        const chosen = heads.indexOf(name);
        const said = numbers.map((number, i) => `${both[i].title} ${number.toFixed(3)}`).join(", ");
        const transform = `translate(${at(x, numbers[0])} ${at(y, numbers[1])})`;
        const state = { tabindex: point === reachable ? 0 : -1, "aria-pressed": String(chosen >= 0) };
        const attributes = { class: "point", transform, "data-point": name, ...state };
        const circle = s("circle", chosen < 0 ? { r: 5 } : { r: 7, fill: lineColour(chosen, theme) });
        const label = s("text", { y: -10, class: "tick" }, name);
        return drawnButton(`head ${name}: ${said}`, attributes, (e) => choose(name, isAdding(e)), circle, label);
      });
      const before = focused()?.dataset.point;
      const [left, top] = [at(x, both[0].chance), at(y, both[1].chance)];
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
 * An axis with room for the values, their chance and zero.
 * @param {{title: string, values: Float32Array, chance: number}} measure
 * @param {number} from
 * @param {number} to
 */
function axisOf({ title, values, chance }, from, to) {
  const [low, high] = range([0, chance, ...values].filter(Number.isFinite));
  const room = 0.06 * (high - low || 1);
  return { name: title, from, to, low: low < 0 ? low - room : low, high: high + room };
}

/**
 * A line at the chance of a metric, if it is known.
 * @param {string} d
 * @param {number} x of its name
 * @param {number} y
 */
const chanceLine = (d, x, y) =>
  Number.isFinite(x + y) ? [s("path", { class: "chance", d }), s("text", { class: "axis", x, y }, "chance")] : [];
