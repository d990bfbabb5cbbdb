// @ts-check
// The text that was read, and what is known of the character that is looked at.

import { difference, largest, rank, sameText, seen } from "./attention.js";
import { css, ink } from "./colour.js";
import { h } from "./dom.js";
import { LARGEST_LOSS } from "./maps.js";
import { named, surroundings, visible } from "./text.js";

/** @typedef {import("./format.js").Snapshot} Snapshot */
/** @typedef {import("./colour.js").Scale} Scale */
/** @typedef {import("./attention.js").Direction} Direction */
/** At some heads of a snapshot; null if it lacks one. @typedef {{name: string, title: string, snapshot: Snapshot, map: Float32Array | null}} Look */

const LISTED = 8; // characters attended to
const JOINING = /^[\p{Emoji_Modifier}\p{Regional_Indicator}]$/u; // to be kept from what stands beside them

/**
 * @param {(place: number | null) => void} hovered
 * @param {(place: number | null) => void} pinned
 */
export function createText(hovered, pinned) {
  const element = h("div", { className: "text", role: "group", "aria-label": "The text" });
  /** @type {HTMLElement[]} */
  let spans = [];
  let shown = "";

  const placeOf = (/** @type {EventTarget | null} */ target) => {
    const place = /** @type {HTMLElement} */ (target).dataset?.place;
    return place === undefined ? null : Number(place);
  };
  element.addEventListener("pointerover", (event) => {
    const place = placeOf(event.target);
    if (place !== null) hovered(place);
  });
  element.addEventListener("pointerleave", () => hovered(null));
  element.addEventListener("focusin", (event) => hovered(placeOf(event.target)));
  element.addEventListener("focusout", () => hovered(null));
  element.addEventListener("click", (event) => {
    const place = placeOf(event.target);
    if (place !== null) pinned(place);
  });
  element.addEventListener("keydown", (event) => {
    const place = placeOf(event.target);
    if (place === null || event.altKey || event.ctrlKey || event.metaKey) return;
    const moves = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: spans.length - 1 };
    if (Object.hasOwn(moves, event.key)) focus(moves[/** @type {keyof typeof moves} */ (event.key)]);
    else if (event.key === "Enter" || event.key === " ") pinned(place);
    else if (event.key === "Escape") pinned(null);
    else return;
    event.preventDefault();
  });

  /** @param {number} place */
  function focus(place) {
    const target = spans[place];
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
        spans = tokens.map((token, place) => {
          const shown = visible(token);
          const span = h("span", { tabIndex: place === 0 ? 0 : -1, role: "button" }, shown);
          span.dataset.place = String(place);
          span.classList.toggle("mark", shown !== token);
          span.classList.toggle("alone", JOINING.test(token));
          return span;
        });
        element.replaceChildren(...spans.flatMap((span, place) => (tokens[place] === "\n" ? [span, h("br")] : [span])));
      }
      for (const [place, span] of spans.entries()) {
        const known = Number.isFinite(loss[place]);
        span.style.setProperty("--loss", known ? css(losses, loss[place] / LARGEST_LOSS) : "transparent");
        span.setAttribute(
          "aria-label",
          `${named(tokens[place])}, place ${place}${known ? `, loss ${loss[place].toFixed(2)}` : ""}`,
        );
      }
    },
    /**
     * @param {Float32Array | null} values of each character for the one that is looked at, from 0 to 1
     * @param {number | null} place
     * @param {number | null} pinnedPlace
     * @param {Scale} weights
     */
    mark(values, place, pinnedPlace, weights) {
      for (const [i, span] of spans.entries()) {
        const share = values ? Math.sqrt(values[i]) : 0;
        span.style.backgroundColor = share > 0 ? css(weights, share) : "";
        span.style.color = share > 0 ? ink(weights, share) : "";
        span.classList.toggle("here", i === place);
        span.setAttribute("aria-pressed", String(i === pinnedPlace));
      }
    },
  };
}

export function createDetails() {
  const element = h("div");
  return {
    element,
    /**
     * @param {Look[]} looks one or two
     * @param {number | null} place
     * @param {number | null} other a character of which more is to be said
     * @param {Direction} direction
     */
    show(looks, place, other, direction) {
      const [{ snapshot }] = looks;
      const T = snapshot.tokens.length;
      if (place === null || place >= T) {
        const hint = "Point at a character, here or in the map, to read what it attends to. A click keeps it.";
        element.replaceChildren(h("p", { className: "hint" }, hint));
        return;
      }
      const alike = looks.filter((look) => sameText(look.snapshot, snapshot));
      const columns = alike.flatMap(({ name, map }) => (map ? [{ name, of: seen(map, T, place, direction) }] : []));
      const [first, second] = columns;
      if (second) columns.push({ name: "difference", of: difference(first.of, second.of) });
      const listed = first ? largest(first.of, LISTED) : [];
      if (first && other !== null && other < T && !listed.includes(other)) listed.push(other);
      const title = direction === "from" ? "attends to" : "is attended to by";
      const names = ["", "character", "place", "rank", ...columns.map(({ name }) => name)];
      element.replaceChildren(
        h("h3", {}, inContext(snapshot, place), ` place ${place}, ${title}`),
        h(
          "table",
          {},
          h("tr", {}, ...names.map((name) => h("th", {}, name))),
          ...listed.map((i) =>
            h(
              "tr",
              { className: i === other ? "here" : "" },
              h("td", {}, bar(first.of[i])),
              h("td", {}, inContext(snapshot, i)),
              h("td", {}, String(i)),
              h("td", {}, String(rank(first.of, i))),
              ...columns.map(({ of }) => h("td", { className: "number" }, signed(of[i]))),
            ),
          ),
        ),
        ...alike.flatMap((look) => next(look.name, look.snapshot, place, alike.length > 1)),
      );
    },
  };
}

/**
 * How likely the model found the character at `place`, and what it expects after it.
 * @param {string} name
 * @param {Snapshot} snapshot
 * @param {number} place
 * @param {boolean} several
 */
function next(name, snapshot, place, several) {
  const { tokens, loss, choices, likeliest, probabilities, candidates } = snapshot;
  const own = loss[place];
  const said = Number.isFinite(own)
    ? `loss ${own.toFixed(2)} nats: it was expected with ${percent(Math.exp(-own))}`
    : "nothing came before it to expect it by";
  const rows = Array.from({ length: choices }, (_, k) => {
    const character = candidates[likeliest[place * choices + k]];
    const probability = probabilities[place * choices + k];
    const came = character === tokens[place + 1];
    return h(
      "tr",
      { className: came ? "here" : "" },
      h("td", {}, bar(probability)),
      h("td", {}, h("code", {}, named(character)), came ? " came" : ""),
      h("td", { className: "number" }, percent(probability)),
    );
  });
  return [
    h("p", { className: "own" }, several ? `${name}: ` : "", said),
    h("h3", {}, "Expected next"),
    h("table", { className: "next" }, ...rows),
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
 * @param {number} place
 */
function inContext(snapshot, place) {
  const { before, after } = surroundings(snapshot.tokens, place);
  return h(
    "code",
    {},
    h("span", { className: "around" }, before),
    h("b", {}, visible(snapshot.tokens[place])),
    h("span", { className: "around" }, after),
  );
}
