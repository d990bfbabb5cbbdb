// @ts-check
// Losses and heads over training on one time axis, and between them the steps at which heads form.

import { linesOf } from "./choices.js";
import { across, at, createChart, range, WIDTH } from "./curves.js";
import { drawnButton, h, s } from "./dom.js";
import { lineColour } from "./encoding.js";
import { FORMED, formationsOf, THRESHOLD } from "./forming.js";
import { titleOf } from "./help.js";
import { aboutCurves } from "./measured.js";

/** @typedef {import("./gather.js").Found} Found */

const LOW = 190; // height of the chart of losses
const LANE = 30; // height of the marks of one metric
const LETTER = 6; // width

/**
 * @param {(step: number) => void} go
 * @param {(heads: string[], step: number) => void} show
 */
export function createTraining(go, show) {
  const losses = createChart(go, LOW);
  const heads = createChart(go);
  const lanes = s("svg", { viewBox: `0 0 ${WIDTH} ${LANE * FORMED.length}`, role: "group", "aria-label": "Forming" });
  const said = h("p", { className: "hint" });
  const forming = h("div", { className: "chart forming" }, lanes, said);
  losses.element.classList.add("losses");
  return {
    elements: [losses.element, forming, heads.element],
    /**
     * @param {Found} found
     * @param {import("./view.js").View} view
     * @param {import("./colour.js").Theme} theme
     * @returns {boolean} whether there is anything to draw
     */
    draw(found, view, theme) {
      const colour = (/** @type {number} */ i) => lineColour(i, theme);
      const ofLosses = lossLines(found, colour);
      const ofHeads = linesOf(found.curves, found.sides, view, colour);
      const steps = [...ofLosses, ...ofHeads].flatMap(({ points }) => points.map(([step]) => step));
      losses.element.hidden = ofLosses.length === 0;
      losses.draw(ofLosses, "step", "loss (nats/char)", range(steps));
      heads.draw(ofHeads, "step", titleOf(view.metric) + aboutCurves(found.sides[0], view), range(steps));
      const axis = across("step", range(steps));
      const marks = found.forming.map(([metric, curves], lane) => {
        const group = s("g", { transform: `translate(0 ${LANE * lane + 22})` }, ...marksOf(metric, curves, axis, show));
        group.append(s("text", { class: "axis lane", x: axis.from - 6 }, metric));
        return group;
      });
      lanes.replaceChildren(...marks);
      const none = marks.every(({ children }) => children.length === 1) ? "; none has yet" : "";
      const passes = `Marked: a head's ${FORMED.map(titleOf).join(" or ")} score first passes ${THRESHOLD}${none}.`;
      said.textContent = `${passes} Click a mark to see its heads at that step, or a chart to go to a step.`;
      forming.hidden = found.forming.every(([, curves]) => curves.length === 0);
      return steps.length > 0;
    },
    /** @param {number} step */
    mark(step) {
      losses.mark(step);
      heads.mark(step);
    },
  };
}

/**
 * The losses of each run, those of a second dashed.
 * @param {Found} found
 * @param {(i: number) => string} colour
 */
function lossLines({ losses, sides }, colour) {
  const runs = [...new Set(sides.map(({ run }) => run))];
  return runs.flatMap((run, i) =>
    Object.entries(losses[i]).map(([split, points]) => ({
      name: runs.length > 1 ? `${run}, ${split}` : split,
      points,
      colour: colour(split === "training" ? 0 : 1),
      dashed: i > 0,
      strong: true,
    })),
  );
}

/**
 * A mark at each step where heads form, labelled where there is room.
 * @param {string} metric
 * @param {import("./client.js").Curves} curves
 * @param {import("./curves.js").Axis} axis
 * @param {(heads: string[], step: number) => void} show
 */
function marksOf(metric, curves, axis, show) {
  let free = 0; // where the next label may begin
  return formationsOf(curves).map(({ step, heads }) => {
    const x = at(axis, step);
    const label = heads.length > 2 ? `${heads.length} heads` : heads.join(" ");
    const half = (LETTER * label.length) / 2;
    const fits = x - half >= free;
    if (fits) free = x + half + LETTER;
    const said = `${titleOf(metric)}: head ${heads.join(", ")} at step ${step.toLocaleString("en")}`;
    const drawn = [s("circle", { r: 4.5 }), s("text", { y: -9, class: "tick" }, fits ? label : "")];
    return drawnButton(said, { class: "formed", transform: `translate(${x} 0)` }, () => show(heads, step), ...drawn);
  });
}
