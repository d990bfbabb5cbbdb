// @ts-check
// The places of a head: where in the validation sample it looks most decidedly, and its map of such a sequence.

import { triangle, WEIGHT } from "./attention.js";
import { h } from "./dom.js";
import { createMap } from "./map.js";
import { sampledSplit } from "./measured.js";
import { joined, surroundings, visible } from "./text.js";

/** @typedef {import("./statistics.js").Place} Place */

const AROUND = 8; // characters before the key and after the query
const BETWEEN = 28; // of more than these, the middle is left out

export function createPlaces() {
  const title = h("p");
  const marks = "Framed is the query, dotted the key with its largest weight. Click a place to see its map.";
  const hint = h("p", { className: "hint" }, marks);
  const list = h("div", { className: "list" });
  const nothing = () => {};
  const map = createMap(nothing, nothing);
  return {
    element: h("div", { className: "places" }, h("div", {}, title, hint, list), map.element),
    /**
     * @param {import("./gather.js").Side} side
     * @param {string[]} heads the chosen ones
     * @param {import("./colour.js").Scale} scale
     */
    draw(side, [head, ...others], scale) {
      const { run, measured } = side;
      const { names = [], places = [], sequences = [] } = measured?.statistics ?? {};
      const found = places[names.indexOf(head)] ?? [];
      const which = `Head ${head}${others.length > 0 ? ", the first of those chosen," : ""}`;
      const where = `${sequences.length} ${sampledSplit(side)} sequences of ${run}, measured at step ${measured?.step}`;
      title.textContent = measured
        ? `${which} in ${where}${found.length > 0 ? "" : ": no place"}.`
        : "Measured at evaluations; by this step there is none.";
      const buttons = found.map((place) =>
        h("button", { type: "button", onclick: () => show(place) }, ...described(sequences[place.sequence], place)),
      );
      list.replaceChildren(...buttons);
      map.element.hidden = hint.hidden = found.length === 0;

      /** @param {Place} place */
      function show(place) {
        for (const [i, button] of buttons.entries()) button.setAttribute("aria-pressed", String(found[i] === place));
        map.draw(`head ${head}, sequence ${place.sequence + 1}`, sequences[place.sequence], place.levels, scale);
        map.mark(place.query, place.key, "from");
      }
      if (found.length > 0) show(found[0]);
    },
  };
}

/**
 * The text around query and key, both marked, and how decidedly the head looks: as if evenly at so many keys.
 * @param {string[]} tokens
 * @param {Place} place
 */
function described(tokens, { query, key, levels, decisiveness }) {
  const [ofKey, ofQuery] = [key, query].map((position) => surroundings(tokens, position, AROUND));
  const all = joined(tokens.slice(key + 1, query));
  const between = query - key > BETWEEN ? `${ofKey.after} … ${ofQuery.before}` : all;
  const marked = (/** @type {string} */ name, /** @type {number} */ i) =>
    h("b", { className: name }, visible(tokens[i]));
  const keyed = key === query ? [] : [marked("key", key), between];
  const weight = WEIGHT[levels[triangle(query) + key]];
  const even = `as if evenly to ${((query + 1) * Math.exp(-decisiveness)).toFixed(1)} of ${query + 1} characters`;
  return [
    h("code", {}, ofKey.before, ...keyed, marked("query", query), ofQuery.after),
    h("span", { className: "hint" }, `weight ${weight.toFixed(2)}; ${decisiveness.toFixed(2)} nats: ${even}`),
  ];
}
