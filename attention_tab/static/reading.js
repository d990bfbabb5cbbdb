// @ts-check
// The text, and the details of its current character.

import { difference, largest, rank, sameText, weightsAt } from "./attention.js";
import { css, ink } from "./colour.js";
import { h } from "./dom.js";
import { LARGEST_LOSS } from "./maps.js";
import { named, surroundings, visible } from "./text.js";

/** @typedef {import("./format.js").Snapshot} Snapshot */
/** @typedef {import("./colour.js").Scale} Scale */
/** @typedef {import("./attention.js").Direction} Direction */
/** `map`: of the chosen heads, null if the snapshot lacks one; `effect`: of switching one off, in words. @typedef {{name: string, title: string, snapshot: Snapshot, map: Float32Array | null, effect: string}} HeadMap */

const LISTED = 8; // characters attended to
const JOINING = /^[\p{Emoji_Modifier}\p{Regional_Indicator}]$/u; // to be kept apart from their neighbours

/**
 * @param {(position: number | null) => void} hovered
 * @param {(position: number | null, second: boolean) => void} pinned with `second`, beside the one that is pinned
 */
export function createText(hovered, pinned) {
  const element = h("div", { className: "text", role: "group", "aria-label": "The text" });
  /** @type {HTMLElement[]} */
  let spans = [];
  let shown = "";

  /** @param {string} type of event @param {(position: number, event: MouseEvent & KeyboardEvent) => void} act */
  function onCharacter(type, act) {
    element.addEventListener(type, (event) => {
      const { position } = /** @type {HTMLElement} */ (event.target).dataset;
      if (position !== undefined) act(Number(position), /** @type {MouseEvent & KeyboardEvent} */ (event));
    });
  }
  for (const type of ["pointerover", "focusin"]) onCharacter(type, hovered);
  for (const type of ["pointerleave", "focusout"]) element.addEventListener(type, () => hovered(null));
  onCharacter("click", (position, event) => pinned(position, event.shiftKey));
  onCharacter("keydown", (position, event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const moves = { ArrowLeft: position - 1, ArrowRight: position + 1, Home: 0, End: spans.length - 1 };
    if (Object.hasOwn(moves, event.key)) focus(moves[/** @type {keyof typeof moves} */ (event.key)]);
    else if (event.key === "Enter" || event.key === " ") pinned(position, event.shiftKey);
    else if (event.key === "Escape") pinned(null, false);
    else return;
    event.preventDefault();
  });

  /** @param {number} position */
  function focus(position) {
    if (!spans[position]) return;
    for (const [i, span] of spans.entries()) span.tabIndex = i === position ? 0 : -1;
    spans[position].focus();
  }

  return {
    element,
    /**
     * @param {Snapshot} snapshot
     * @param {Scale} losses
     */
    draw({ tokens, loss }, losses) {
      if (shown !== JSON.stringify(tokens)) {
        shown = JSON.stringify(tokens);
        spans = tokens.map((token, position) => {
          const shown = visible(token);
          const span = h("span", { tabIndex: position === 0 ? 0 : -1, role: "button" }, shown);
          span.dataset.position = String(position);
          span.classList.toggle("mark", shown !== token);
          span.classList.toggle("alone", JOINING.test(token));
          return span;
        });
        element.replaceChildren(...spans.flatMap((span, i) => (tokens[i] === "\n" ? [span, h("br")] : [span])));
      }
      for (const [position, span] of spans.entries()) {
        const known = Number.isFinite(loss[position]);
        span.style.setProperty("--loss", known ? css(losses, loss[position] / LARGEST_LOSS) : "transparent");
        const ofLoss = known ? `, loss ${loss[position].toFixed(2)}` : "";
        span.setAttribute("aria-label", `${named(tokens[position])}, position ${position}${ofLoss}`);
      }
    },
    /**
     * @param {Float32Array | null} values weights of all characters with the current one, from 0 to 1
     * @param {number | null} position
     * @param {(number | null)[]} pinned one position, or a pair
     * @param {Scale} weights
     */
    mark(values, position, pinned, weights) {
      for (const [i, span] of spans.entries()) {
        const share = values ? Math.sqrt(values[i]) : 0;
        span.style.backgroundColor = share > 0 ? css(weights, share) : "";
        span.style.color = share > 0 ? ink(weights, share) : "";
        span.classList.toggle("here", i === position);
        span.setAttribute("aria-pressed", String(pinned.includes(i)));
      }
    },
  };
}

export function createDetails() {
  const element = h("div");
  return {
    element,
    /**
     * @param {HeadMap[]} headMaps one or two
     * @param {number | null} position
     * @param {number | null} other a position to list in any case
     * @param {Direction} direction
     * @param {number} most the number with the longest bar
     */
    show(headMaps, position, other, direction, most) {
      const [{ snapshot }] = headMaps;
      const T = snapshot.tokens.length;
      if (position === null || position >= T) {
        const hint = "Point at a character, here or in the map, to see what it attends to. A click pins it.";
        element.replaceChildren(h("p", { className: "hint" }, hint));
        return;
      }
      const alike = headMaps.filter((headMap) => sameText(headMap.snapshot, snapshot));
      const columns = alike.flatMap(({ name, map }) =>
        map ? [{ name, of: weightsAt(map, T, position, direction) }] : [],
      );
      const [first, second] = columns;
      if (second) columns.push({ name: "difference", of: difference(first.of, second.of) });
      const listed = first ? largest(first.of, LISTED) : [];
      if (first && other !== null && other < T && !listed.includes(other)) listed.push(other);
      const title = direction === "from" ? "attends to" : "is attended to by";
      const names = ["", "character", "position", "rank", ...columns.map(({ name }) => name)];
      const rows = listed.map((i) => {
        const weights = columns.map(({ of }) => of[i].toFixed(4).replace("-", "−"));
        const numbers = [String(i), String(rank(first.of, i)), ...weights];
        return row(i === other, bar(first.of[i] / most), inContext(snapshot, i), ...numbers);
      });
      const table = h("table", {}, h("tr", {}, ...names.map((name) => h("th", {}, name))), ...rows);
      const heading = h("h3", {}, inContext(snapshot, position), ` position ${position}, ${title}`);
      const after = alike.map(({ name, snapshot }) => nextOf(snapshot, position, alike.length > 1 ? `${name}: ` : ""));
      element.replaceChildren(h("div", {}, heading, table), ...after);
    },
  };
}

/**
 * The loss of the character at `position`, and the likeliest next characters.
 * @param {Snapshot} snapshot
 * @param {number} position
 * @param {string} name
 */
function nextOf(snapshot, position, name) {
  const own = snapshot.loss[position];
  const sentence = Number.isFinite(own)
    ? `loss ${own.toFixed(2)} nats, probability ${percent(Math.exp(-own))}`
    : "the first character has no loss";
  const rows = guesses(snapshot, snapshot, position, position).map(({ character, probability, came }) => {
    const code = h("span", {}, h("code", {}, named(character)), came ? " came" : "");
    return row(came, bar(probability), code, percent(probability));
  });
  const expected = h("div", {}, h("h3", {}, "Expected next"), h("table", { className: "next" }, ...rows));
  const tables = h("div", { className: "beside" }, expected, ...lensOf(snapshot, position));
  return h("div", {}, h("p", { className: "own" }, name, sentence), tables);
}

/**
 * The logit lens (nostalgebraist 2020): the next characters that the output layer reads after each layer, the embedding
 * first; nothing if unknown.
 * @param {Snapshot} snapshot
 * @param {number} position
 */
function lensOf(snapshot, position) {
  const { tokens, heads, lens } = snapshot;
  if (!lens) return [];
  const rows = Array.from({ length: heads.length + 1 }, (_, layer) => {
    const found = guesses(snapshot, lens, layer * tokens.length + position, position);
    const cells = found.map(({ character, probability, came }) => {
      const title = `${named(character)}${came ? ", which came" : ""}`;
      const code = h("code", {}, visible(character));
      const percent = 100 * probability;
      const style = `background: color-mix(in srgb, var(--accent) ${(5 * Math.sqrt(percent)).toFixed(1)}%, transparent)`;
      return h("td", { className: came ? "guess came" : "guess", title, style }, code, ` ${percent.toFixed(0)}`);
    });
    const name = layer === heads.length ? "output" : layer === 0 ? "embedding" : `layer ${layer}`;
    return h("tr", {}, h("th", { scope: "row" }, name), ...cells);
  });
  return [h("div", {}, h("h3", {}, "Expected after each layer, in %"), h("table", { className: "lens" }, ...rows))];
}

/**
 * The likeliest next characters after `position`, of one row of such.
 * @param {Snapshot} snapshot
 * @param {{likeliest: ArrayLike<number>, probabilities: ArrayLike<number>, choices: number}} of
 * @param {number} row
 * @param {number} position
 */
const guesses = ({ candidates, tokens }, { likeliest, probabilities, choices }, row, position) =>
  Array.from({ length: choices }, (_, k) => {
    const character = candidates[likeliest[row * choices + k]];
    return { character, probability: probabilities[row * choices + k], came: character === tokens[position + 1] };
  });

/** @param {boolean} here whether it is marked @param {...(Node | string)} cells */
const row = (here, ...cells) => h("tr", { className: here ? "here" : "" }, ...cells.map((cell) => h("td", {}, cell)));

/** @param {number} share */
const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

/** A bar for a share of the longest. @param {number} share */
export function bar(share, longest = 40) {
  const width = `${(longest * Math.min(1, Math.abs(share))).toFixed(1)}px`;
  return h("span", { className: share < 0 ? "bar less" : "bar", style: `width: ${width}` });
}

/** A character among its neighbours. @param {Snapshot} snapshot @param {number} position */
export function inContext({ tokens }, position) {
  const { before, after } = surroundings(tokens, position);
  const around = (/** @type {string} */ text) => h("span", { className: "around" }, text);
  return h("code", {}, around(before), h("b", {}, visible(tokens[position])), around(after));
}
