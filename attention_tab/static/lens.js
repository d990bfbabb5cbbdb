// @ts-check
// The logit lens (nostalgebraist 2020): the next characters that the output layer reads after each layer.

import { h } from "./dom.js";
import { named, visible } from "./text.js";

/**
 * A row for each layer, the embedding first, and a cell for each of its likeliest characters; nothing if unknown.
 * @param {import("./format.js").Snapshot} snapshot
 * @param {number} position
 */
export function lensOf({ tokens, heads, candidates, lens }, position) {
  if (!lens) return [];
  const rows = Array.from({ length: heads.length + 1 }, (_, layer) => {
    const cells = Array.from({ length: lens.choices }, (_, k) => {
      const i = (layer * tokens.length + position) * lens.choices + k;
      const character = candidates[lens.likeliest[i]];
      const percent = 100 * lens.probabilities[i];
      const came = character === tokens[position + 1];
      const title = `${named(character)}${came ? ", which came" : ""}`;
      const cell = h("td", { className: came ? "guess came" : "guess", title }, h("code", {}, visible(character)));
      cell.append(` ${percent.toFixed(0)}`);
      cell.style.background = `color-mix(in srgb, var(--accent) ${(5 * Math.sqrt(percent)).toFixed(1)}%, transparent)`;
      return cell;
    });
    const name = layer === heads.length ? "output" : layer === 0 ? "embedding" : `layer ${layer}`;
    return h("tr", {}, h("th", { scope: "row" }, name), ...cells);
  });
  return [h("div", {}, h("h3", {}, "Expected after each layer, in %"), h("table", { className: "lens" }, ...rows))];
}
