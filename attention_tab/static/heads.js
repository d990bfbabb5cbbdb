// @ts-check
// All heads at once, layers down and heads across, or in the order of a metric.

import { difference, differenceLevels, levelsOf, order, weightLevels, weightsOf } from "./attention.js";
import { css } from "./colour.js";
import { range } from "./curves.js";
import { h, isAdding, onArrows } from "./dom.js";
import { paint } from "./map.js";
import { ABLATION, atChance, chanceOf, rise, valuesOf } from "./measured.js";

/** @typedef {import("./format.js").Snapshot} Snapshot */
/** @typedef {import("./colour.js").Scale} Scale */

/** @param {(name: string, added: boolean) => void} chosen a head, alone or with those chosen before */
export function createHeads(chosen) {
  const element = h("div", { className: "heads", role: "grid", "aria-label": "Heads", "aria-multiselectable": "true" });
  /** @type {Map<string, ReturnType<typeof createCell>>} */
  const cells = new Map();
  let arrangement = "";
  /** @type {string[][]} */
  let arranged = [];

  onArrows(element, (right, down, event) => {
    const { head = "" } = /** @type {HTMLElement} */ (event.target).dataset;
    const y = arranged.findIndex((names) => names.includes(head));
    const row = arranged[y + down] ?? [];
    const x = (arranged[y]?.indexOf(head) ?? -1) + right;
    const name = row[down ? Math.min(x, row.length - 1) : x];
    if (!name) return;
    cellOf(name).button.focus();
    chosen(name, event.shiftKey);
  });

  /** @param {string} name */
  function createCell(name) {
    const canvas = h("canvas", { width: 1, height: 1 });
    const value = h("span", { className: "value" });
    const off = h("span", { className: "off" });
    const onclick = (/** @type {MouseEvent} */ event) => chosen(name, isAdding(event));
    const title = h("span", { className: "name" }, h("span", {}, name), value);
    const button = h("button", { type: "button", role: "gridcell", onclick }, canvas, title, off);
    button.dataset.head = name;
    return { button, canvas, value, off };
  }

  /** @param {string} name */
  function cellOf(name) {
    const cell = cells.get(name) ?? createCell(name);
    cells.set(name, cell);
    return cell;
  }

  /**
   * @param {string[][]} rows of names
   * @param {boolean} titled by their layers
   */
  function arrange(rows, titled) {
    const wanted = JSON.stringify([rows, titled]);
    if (wanted === arrangement) return;
    arrangement = wanted;
    arranged = rows;
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    element.style.setProperty("--columns", String(Math.max(...rows.map((row) => row.length))));
    element.style.setProperty("--rows", String(rows.length));
    const drawn = rows.map((row) => {
      const title = h("span", { className: "layer", role: "rowheader" }, `Layer ${row[0].split(".")[0]}`);
      return h("div", { role: "row" }, ...(titled ? [title] : []), ...row.map((name) => cellOf(name).button));
    });
    element.replaceChildren(...drawn);
    if (focused?.dataset.head) focused.focus();
  }

  return {
    element,
    /**
     * @param {import("./gather.js").Side} side
     * @param {Snapshot | null} other subtracted from it, head by head; heads it lacks are blank
     * @param {import("./view.js").View} view
     * @param {{weights: Scale, differences: Scale}} scales
     * @param {number} most the number with the last colour
     */
    draw(side, other, view, scales, most) {
      const { snapshot } = side;
      const { names, heads, tokens } = snapshot;
      const unknown = new Float32Array(names.length).fill(Number.NaN);
      const of = (/** @type {string} */ metric, sample = view.sample) => valuesOf(side, metric, sample);
      const numbers = of(view.metric) ?? unknown;
      const changes = of(ABLATION) ?? of(ABLATION, !view.sample) ?? unknown;
      const chance = chanceOf(side, view.metric, view.sample);
      const layers = heads.map((_, layer) => names.filter((name) => name.startsWith(`${layer + 1}.`)));
      const sorted = order(numbers).map((head) => names[head]);
      arrange(view.sorted ? chunks(sorted, Math.max(...heads, 4)) : layers, !view.sorted);
      element.classList.toggle("measured", side.metrics.includes(ABLATION));
      const signed = view.metric === ABLATION; // and stands below
      const [low, high] = range([0, 1e-9, ...numbers.filter(Number.isFinite)]);
      const share = (/** @type {number} */ number) =>
        signed ? (1 + number / Math.max(-low, high)) / 2 : (number - low) / (high - low);
      const focusable = view.heads.findLast((name) => names.includes(name)) ?? names[0];
      for (const [head, name] of names.entries()) {
        const { button, canvas, value, off } = cellOf(name);
        const levels = levelsFor(snapshot, head, other, view.values, most);
        if (levels) paint(canvas, tokens.length, levels, other ? scales.differences : scales.weights);
        else canvas.width = tokens.length; // which empties it
        const [number, change] = [numbers[head], changes[head]];
        const colour = Number.isFinite(number) ? css(signed ? scales.differences : scales.weights, share(number)) : "";
        value.textContent = signed || !colour ? "" : number.toFixed(2);
        off.textContent = Number.isFinite(change) ? rise(change) : "";
        off.classList.toggle("helps", off.textContent.startsWith("−"));
        button.style.setProperty("--metric", colour || "transparent");
        button.setAttribute("aria-selected", String(view.heads.includes(name)));
        button.tabIndex = name === focusable ? 0 : -1;
        const measured = value.textContent && `, ${view.metric} ${value.textContent}`;
        const little = atChance(view.metric, number, chance) ? `, at or below chance (${chance.toFixed(2)})` : "";
        const effect = off.textContent && `, switched off ${off.textContent} nats`;
        button.title = `Layer ${name.replace(".", ", head ")}${measured}${little}${effect}`;
        button.setAttribute("aria-label", button.title);
      }
    },
    /** @param {string} name */
    canvas: (name) => cellOf(name).canvas,
    /** The names as they are arranged now. */
    rows: () => arranged,
  };
}

/**
 * The levels of a head, or of its difference from the same one of `other`; null if that lacks it.
 * @param {Snapshot} snapshot
 * @param {number} head
 * @param {Snapshot | null} other
 * @param {boolean} values whether times value norms
 * @param {number} most
 */
function levelsFor(snapshot, head, other, values, most) {
  if (!other) return values ? weightLevels(weightsOf(snapshot, [head], true), most) : levelsOf(snapshot, head);
  const same = other.names.indexOf(snapshot.names[head]);
  if (same < 0) return null;
  return differenceLevels(difference(weightsOf(snapshot, [head], values), weightsOf(other, [same], values)), most);
}

/**
 * @template Item
 * @param {Item[]} items
 * @param {number} size
 */
const chunks = (items, size) =>
  Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
