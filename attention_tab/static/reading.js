// @ts-check
// The text, and the details of its current character.

import { difference, largest, rank, sameText, weightsAt } from "./attention.js";
import { css, ink } from "./colour.js";
import { h } from "./dom.js";
import { lensOf } from "./lens.js";
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

  const positionOf = (/** @type {EventTarget | null} */ target) => {
    const position = /** @type {HTMLElement} */ (target).dataset?.position;
    return position === undefined ? null : Number(position);
  };
  element.addEventListener("pointerover", (event) => {
    const position = positionOf(event.target);
    if (position !== null) hovered(position);
  });
  element.addEventListener("pointerleave", () => hovered(null));
  element.addEventListener("focusin", (event) => hovered(positionOf(event.target)));
  element.addEventListener("focusout", () => hovered(null));
  element.addEventListener("click", (event) => {
    const position = positionOf(event.target);
    if (position !== null) pinned(position, event.shiftKey);
  });
  element.addEventListener("keydown", (event) => {
    const position = positionOf(event.target);
    if (position === null || event.altKey || event.ctrlKey || event.metaKey) return;
    const moves = { ArrowLeft: position - 1, ArrowRight: position + 1, Home: 0, End: spans.length - 1 };
    if (Object.hasOwn(moves, event.key)) focus(moves[/** @type {keyof typeof moves} */ (event.key)]);
    else if (event.key === "Enter" || event.key === " ") pinned(position, event.shiftKey);
    else if (event.key === "Escape") pinned(null, false);
    else return;
    event.preventDefault();
  });

  /** @param {number} position */
  function focus(position) {
    const target = spans[position];
    if (!target) return;
    for (const span of spans) span.tabIndex = -1;
    target.tabIndex = 0;
    target.focus();
  }

  return {
    element,
    /**
     * @param {Snapshot} snapshot
     * @param {Scale} losses
     */
    draw(snapshot, losses) {
      const { tokens, loss } = snapshot;
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
        element.replaceChildren(
          ...spans.flatMap((span, position) => (tokens[position] === "\n" ? [span, h("br")] : [span])),
        );
      }
      for (const [position, span] of spans.entries()) {
        const known = Number.isFinite(loss[position]);
        span.style.setProperty("--loss", known ? css(losses, loss[position] / LARGEST_LOSS) : "transparent");
        span.setAttribute(
          "aria-label",
          `${named(tokens[position])}, position ${position}${known ? `, loss ${loss[position].toFixed(2)}` : ""}`,
        );
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
      const table = h(
        "table",
        {},
        h("tr", {}, ...names.map((name) => h("th", {}, name))),
        ...listed.map((i) =>
          h(
            "tr",
            { className: i === other ? "here" : "" },
            h("td", {}, bar(first.of[i] / most)),
            h("td", {}, inContext(snapshot, i)),
            h("td", {}, String(i)),
            h("td", {}, String(rank(first.of, i))),
            ...columns.map(({ of }) => h("td", { className: "number" }, signed(of[i]))),
          ),
        ),
      );
      const heading = h("h3", {}, inContext(snapshot, position), ` position ${position}, ${title}`);
      element.replaceChildren(
        h("div", {}, heading, table),
        ...alike.map((headMap) => h("div", {}, ...next(headMap.name, headMap.snapshot, position, alike.length > 1))),
      );
    },
  };
}

/**
 * The loss of the character at `position`, and the likeliest next characters.
 * @param {string} name
 * @param {Snapshot} snapshot
 * @param {number} position
 * @param {boolean} several
 */
function next(name, snapshot, position, several) {
  const { tokens, loss, choices, likeliest, probabilities, candidates } = snapshot;
  const own = loss[position];
  const sentence = Number.isFinite(own)
    ? `loss ${own.toFixed(2)} nats, probability ${percent(Math.exp(-own))}`
    : "the first character has no loss";
  const rows = Array.from({ length: choices }, (_, k) => {
    const character = candidates[likeliest[position * choices + k]];
    const probability = probabilities[position * choices + k];
    const came = character === tokens[position + 1];
    return h(
      "tr",
      { className: came ? "here" : "" },
      h("td", {}, bar(probability)),
      h("td", {}, h("code", {}, named(character)), came ? " came" : ""),
      h("td", { className: "number" }, percent(probability)),
    );
  });
  return [
    h("p", { className: "own" }, several ? `${name}: ` : "", sentence),
    h(
      "div",
      { className: "beside" },
      h("div", {}, h("h3", {}, "Expected next"), h("table", { className: "next" }, ...rows)),
      ...lensOf(snapshot, position),
    ),
  ];
}

/** @param {number} weight or a difference of two */
const signed = (weight) => weight.toFixed(4).replace("-", "−");

/** @param {number} share */
const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

/** @param {number} share */
function bar(share) {
  const inner = h("span", { className: "bar" });
  inner.style.width = `${(40 * Math.max(0, Math.min(1, share))).toFixed(1)}px`;
  return inner;
}

/**
 * @param {Snapshot} snapshot
 * @param {number} position
 */
export function inContext(snapshot, position) {
  const { before, after } = surroundings(snapshot.tokens, position);
  return h(
    "code",
    {},
    h("span", { className: "around" }, before),
    h("b", {}, visible(snapshot.tokens[position])),
    h("span", { className: "around" }, after),
  );
}
