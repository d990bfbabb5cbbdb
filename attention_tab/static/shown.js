// @ts-check
// What there is to see, put into the parts of the page.

import { sameText, seen, weightsOf } from "./attention.js";
import { headsInWords, inFull, linesOf, optionsOf, sideInWords } from "./choices.js";
import { url } from "./client.js";
import { diverging, sequential } from "./colour.js";
import { lineColour } from "./encoding.js";
import { stepsOf } from "./gather.js";
import { METRICS } from "./help.js";
import { pictureOf } from "./picture.js";

/** @typedef {import("./reading.js").Look} Look */

/**
 * @typedef {object} Scene
 * @property {import("./client.js").Runs} runs
 * @property {import("./gather.js").Found} found
 * @property {import("./view.js").View} view that fits what was found
 * @property {boolean} follows the latest step, and those that come
 * @property {boolean} moving on to another view already
 */

const BLUE = 255; // the hues of weights and of losses
const RED = 30;

export class Shown {
  #parts;
  /** @type {Scene | null} */
  #last = null;
  #hovered = /** @type {number | null} */ (null);
  #beside = /** @type {number | null} */ (null); // the character that is looked at with it, in a map
  /** The chosen heads of each side. @type {Look[]} */
  #looks = [];
  /** What the curves and the encoding were drawn of. @type {Record<string, unknown[]>} */
  #drawn = {};
  #theme = /** @type {import("./colour.js").Theme} */ ("light");
  #scales = scalesFor("light");

  /** @param {import("./parts.js").Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  get #scene() {
    if (!this.#last) throw new Error("expected something to see");
    return this.#last;
  }

  /** @param {import("./colour.js").Theme} theme */
  dress(theme) {
    this.#theme = theme;
    this.#scales = scalesFor(theme);
    document.documentElement.dataset.theme = theme;
    if (this.#last) this.draw(this.#last);
  }

  /** @param {Scene} scene */
  draw(scene) {
    this.#last = scene;
    const parts = this.#parts;
    const { view, follows, moving } = scene;
    const [first, second] = scene.found.sides;
    const { run, tag, step, snapshot } = first;
    this.#drawChoices();
    parts.timeline.draw(stepsOf(first.moments), step, follows, moving);
    parts.otherTimeline.element.hidden = !second;
    if (second) parts.otherTimeline.draw(stepsOf(second.moments), second.step, false, moving);
    else parts.otherTimeline.stop();
    const without =
      second && view.shows === "difference" && sameText(snapshot, second.snapshot) ? second.snapshot : null;
    parts.heads.draw(second && view.shows === "second" ? second.snapshot : snapshot, without, view, this.#scales);
    parts.main.classList.toggle("comparing", second !== undefined);
    this.#drawMaps();
    parts.characters.draw(snapshot, this.#scales.losses);
    this.#mark();
    this.#drawCurves();
    this.#drawEncoding();
    parts.weights.href = url("weights", { run, tag, step });
    document.body.dataset.step = String(step);
  }

  #drawChoices() {
    const parts = this.#parts;
    const { view, runs, found } = this.#scene;
    const [first, second] = found.sides;
    const options = optionsOf(runs, first);
    parts.run.show(options.run, first.run);
    parts.text.show(options.text, first.tag);
    parts.other.show(options.other, second?.run ?? "");
    parts.metric.show(options.metric, view.metric);
    parts.direction.show(options.direction, view.direction);
    parts.shows.show(options.shows, view.shows);
    parts.shows.element.hidden = !second;
    parts.sorted.checked = view.sorted;
  }

  #drawMaps() {
    const { heads } = this.#scene.view;
    const { sides } = this.#scene.found;
    this.#looks = sides.map(({ snapshot }, side) => {
      const numbers = heads.map((name) => snapshot.names.indexOf(name));
      const name = sides.length === 1 ? "weight" : ["first", "second"][side];
      const title =
        sides.length === 1 ? headsInWords(heads) : `${name}, ${sideInWords(sides, side)}: ${headsInWords(heads)}`;
      return { name, title, snapshot, map: numbers.includes(-1) ? null : weightsOf(snapshot, numbers) };
    });
    const said = [];
    if (this.#looks.some(({ map }) => !map))
      said.push(`Not every run has ${heads.length === 1 ? headsInWords(heads) : "all of these heads"}.`);
    if (sides.length > 1 && !sameText(sides[0].snapshot, sides[1].snapshot))
      said.push("The two read different texts; below is the first's.");
    this.#parts.said.textContent = said.join(" ");
    this.#parts.maps.draw(this.#looks, this.#scales);
  }

  /** The character that is looked at, and what it sees of each. */
  #looked() {
    const { view } = this.#scene;
    const place = view.place ?? this.#hovered;
    const [{ map, snapshot }] = this.#looks;
    const T = snapshot.tokens.length;
    return { place, values: map && place !== null && place < T ? seen(map, T, place, view.direction) : null };
  }

  /**
   * @param {number | null} place
   * @param {number | null} beside
   */
  hover(place, beside) {
    if (place === this.#hovered && beside === this.#beside) return;
    this.#hovered = place;
    this.#beside = beside;
    this.#mark();
  }

  /** Look at the place that the view keeps, if it keeps one. @param {import("./view.js").View} view */
  keep(view) {
    this.#scene.view = view;
    this.#mark();
  }

  /** What follows the pointer: must take less than a frame. */
  #mark() {
    const { direction, place: pinned } = this.#scene.view;
    const { place, values } = this.#looked();
    const beside = this.#beside ?? (this.#hovered === place ? null : this.#hovered);
    this.#parts.maps.mark(place, beside, direction);
    this.#parts.characters.mark(values, place, pinned, this.#scales.weights);
    this.#parts.details.show(this.#looks, place, beside, direction);
  }

  #drawCurves() {
    const { view, found } = this.#scene;
    const { curves, sides } = found;
    const { chart, curves: section } = this.#parts;
    if (
      this.#isNew("curves", [...curves, ...sides.map(({ run }) => run), view.metric, view.heads.join(), this.#theme])
    ) {
      const lines = linesOf(curves, sides, view, (i) => lineColour(i, this.#theme));
      section.hidden = lines.every(({ points }) => points.length === 0);
      chart.draw(lines, "step", METRICS[view.metric]?.[0] ?? view.metric);
    }
    chart.mark(sides[0].step);
  }

  #drawEncoding() {
    const { encoding } = this.#scene.found;
    const { columns } = this.#scene.view;
    this.#parts.encodings.hidden = !encoding;
    if (!encoding || !this.#isNew("encoding", [encoding.table, columns.join(), this.#theme])) return;
    this.#parts.encoding.draw(encoding.table, encoding.step, columns, this.#scales.differences, this.#theme);
  }

  /**
   * Whether a part is to be drawn of something else than the last time.
   * @param {string} part
   * @param {unknown[]} of
   */
  #isNew(part, of) {
    const last = this.#drawn[part];
    this.#drawn[part] = of;
    return last?.length !== of.length || of.some((each, i) => each !== last[i]);
  }

  /** All of it, to be saved. */
  picture() {
    const { found, view } = this.#scene;
    const { heads, maps } = this.#parts;
    return pictureOf({
      titles: found.sides.map(inFull),
      heads: { names: heads.rows(), canvas: heads.canvas, chosen: view.heads },
      maps: maps.shown(),
      text: { snapshot: found.sides[0].snapshot, ...this.#looked(), ...this.#scales },
    });
  }
}

/** @param {import("./colour.js").Theme} theme */
function scalesFor(theme) {
  return { weights: sequential(theme, BLUE), differences: diverging(theme), losses: sequential(theme, RED) };
}
