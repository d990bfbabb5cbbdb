// @ts-check
// All heads at once, layers down and heads across, or in the order of a metric.

import { difference, differenceLevels, levelsOf, order, weightLevels, weightsOf } from "./attention.js";
import { css } from "./colour.js";
import { h } from "./dom.js";
import { paint } from "./map.js";
import { ABLATION, atChance, rise } from "./measured.js";
import { chanceOf, valuesOf } from "./measures.js";

/** @typedef {import("./format.js").Snapshot} Snapshot */
/** @typedef {import("./colour.js").Scale} Scale */

/**
 * @param {(name: string, added: boolean) => void} chosen a head, alone or with those chosen before
 */
export function createHeads(chosen) {
  const element = h("div", { className: "heads", role: "grid", "aria-label": "Heads", "aria-multiselectable": "true" });
  /** @type {Map<string, {button: HTMLButtonElement, canvas: HTMLCanvasElement, value: HTMLElement, off: HTMLElement}>} */
  const shown = new Map();
  let arrangement = "";
  /** @type {string[][]} */
  let arranged = [];

  element.addEventListener("keydown", (event) => {
    const current = /** @type {HTMLElement} */ (event.target).closest("button");
    const row = current?.parentElement;
    if (!current || !row) return;
    const rows = [...element.children].map((child) => [...child.querySelectorAll("button")]);
    const y = rows.findIndex((buttons) => buttons.includes(current));
    const x = rows[y].indexOf(current);
    const moves = { ArrowLeft: [x - 1, y], ArrowRight: [x + 1, y], ArrowUp: [x, y - 1], ArrowDown: [x, y + 1] };
    if (!Object.hasOwn(moves, event.key) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const [toX, toY] = moves[/** @type {keyof typeof moves} */ (event.key)];
    const target = rows[toY]?.[Math.min(toX, (rows[toY]?.length ?? 0) - 1)];
    if (!target) return;
    target.focus();
    chosen(target.dataset.head ?? "", event.shiftKey);
  });

  /** @param {string} name */
  function createButton(name) {
    const canvas = h("canvas", { width: 1, height: 1 });
    const value = h("span", { className: "value" });
    const off = h("span", { className: "off" });
    const button = h(
      "button",
      {
        type: "button",
        role: "gridcell",
        onclick: (/** @type {MouseEvent} */ event) => chosen(name, event.ctrlKey || event.metaKey || event.shiftKey),
      },
      canvas,
      h("span", { className: "name" }, h("span", {}, name), value),
      off,
    );
    button.dataset.head = name;
    return { button, canvas, value, off };
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
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset?.head;
    const names = new Set(rows.flat());
    for (const name of shown.keys()) if (!names.has(name)) shown.delete(name);
    for (const name of names) if (!shown.has(name)) shown.set(name, createButton(name));
    element.style.setProperty("--columns", String(Math.max(...rows.map((row) => row.length))));
    element.style.setProperty("--rows", String(rows.length));
    element.replaceChildren(
      ...rows.map((row) => {
        const title = h("span", { className: "layer", role: "rowheader" }, `Layer ${row[0].split(".")[0]}`);
        const buttons = row.map((name) => /** @type {{button: HTMLButtonElement}} */ (shown.get(name)).button);
        return h("div", { role: "row" }, ...(titled ? [title] : []), ...buttons);
      }),
    );
    if (focused) shown.get(focused)?.button.focus();
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
      const { names } = snapshot;
      const metric = valuesOf(side, view.metric, view.sample);
      const chance = chanceOf(side, view.metric, view.sample);
      const ablation = valuesOf(side, ABLATION, view.sample) ?? valuesOf(side, ABLATION, !view.sample);
      const T = snapshot.tokens.length;
      const layers = snapshot.heads.map((_, layer) => names.filter((name) => name.startsWith(`${layer + 1}.`)));
      const sorted = metric ? order(metric).map((head) => names[head]) : names;
      const width = Math.max(...snapshot.heads);
      arrange(view.sorted ? chunks(sorted, Math.max(width, 4)) : layers, !view.sorted);
      const finite = [...(metric ?? [])].filter(Number.isFinite);
      const [low, high] = [Math.min(...finite, 0), Math.max(...finite, 1e-9)];
      const far = Math.max(-low, high);
      const signed = view.metric === ABLATION;
      element.classList.toggle("measured", side.metrics.includes(ABLATION));
      const focusable = names.includes(view.heads.at(-1) ?? "") ? view.heads.at(-1) : names[0];
      for (const [head, name] of names.entries()) {
        const { button, canvas, value, off } = /** @type {NonNullable<ReturnType<typeof shown.get>>} */ (
          shown.get(name)
        );
        const same = other?.names.indexOf(name) ?? -1;
        const weights = (/** @type {Snapshot} */ of, /** @type {number} */ i) => weightsOf(of, [i], view.values);
        if (!other) {
          const levels = view.values ? weightLevels(weights(snapshot, head), most) : levelsOf(snapshot, head);
          paint(canvas, T, levels, scales.weights);
        } else if (same < 0)
          canvas.width = T; // which empties it
        else {
          const levels = differenceLevels(difference(weights(snapshot, head), weights(other, same)), most);
          paint(canvas, T, levels, scales.differences);
        }
        const number = metric?.[head] ?? Number.NaN;
        const known = Number.isFinite(number);
        value.textContent = known && !signed ? number.toFixed(2) : ""; // an ablation stands below
        const colour = signed
          ? css(scales.differences, (1 + number / far) / 2)
          : css(scales.weights, (number - low) / (high - low));
        button.style.setProperty("--metric", known ? colour : "transparent");
        const change = ablation?.[head] ?? Number.NaN;
        off.textContent = Number.isFinite(change) ? rise(change) : "";
        off.classList.toggle("helps", off.textContent.startsWith("−"));
        const pressed = view.heads.includes(name);
        button.setAttribute("aria-selected", String(pressed));
        button.tabIndex = name === focusable ? 0 : -1;
        const measured = known && !signed ? `, ${view.metric} ${number.toFixed(2)}` : "";
        const little =
          known && atChance(view.metric, number, chance) ? `, at or below chance (${chance.toFixed(2)})` : "";
        const effect = off.textContent ? `, switched off ${rise(change)} nats` : "";
        button.title = `Layer ${name.replace(".", ", head ")}${measured}${little}${effect}`;
        button.setAttribute("aria-label", button.title);
      }
    },
    /** @param {string} name */
    canvas: (name) => shown.get(name)?.canvas,
    /** The names as they are arranged now. */
    rows: () => arranged,
  };
}

/**
 * @template Item
 * @param {Item[]} items
 * @param {number} size
 */
function chunks(items, size) {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}
