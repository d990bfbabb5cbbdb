// @ts-check
// Draws a view into the parts of the page.

import { largestProduct, sameText, weightsAt, weightsOf } from "./attention.js";
import { headsLabel, fullLabel, optionsOf, PRODUCT, sideLabel } from "./choices.js";
import { url } from "./client.js";
import { diverging, sequential } from "./colour.js";
import { stepsOf } from "./gather.js";
import { METRICS } from "./help.js";
import { aboutCurves, aboutMetric, effectOf } from "./measured.js";
import { pictureOf } from "./picture.js";

/** @typedef {import("./reading.js").HeadMap} HeadMap */

/**
 * @typedef {object} Scene
 * @property {import("./client.js").Runs} runs
 * @property {import("./gather.js").Found} found
 * @property {import("./view.js").View} view fitted to `found`
 * @property {boolean} follows the latest step
 * @property {boolean} moving already on to another view
 * @property {import("./explanation.js").Question["factorsOf"]} factorsOf
 */

const BLUE = 255; // the hues of weights and of losses
const RED = 30;

export class Shown {
  #parts;
  /** @type {Scene | null} */
  #last = null;
  #hovered = /** @type {number | null} */ (null);
  #beside = /** @type {number | null} */ (null); // the other position of the hovered cell of a map
  /** The chosen heads of each side. @type {HeadMap[]} */
  #headMaps = [];
  /** The inputs that the curves and the encoding were last drawn from. @type {Map<string, unknown[]>} */
  #drawn = new Map();
  #most = 1; // the number with the last colour of maps
  #theme = /** @type {import("./colour.js").Theme} */ ("light");
  #scales = scalesFor("light");

  /** @param {import("./parts.js").Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  get #scene() {
    if (!this.#last) throw new Error("expected a scene");
    return this.#last;
  }

  /** @param {import("./colour.js").Theme} theme */
  setTheme(theme) {
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
    const side = second && view.shows === "second" ? second : first;
    this.#most = view.values ? Math.max(...scene.found.sides.map((each) => largestProduct(each.snapshot))) : 1;
    parts.heads.draw(side, without, view, this.#scales, this.#most);
    parts.chance.textContent = aboutMetric(side, view);
    parts.main.classList.toggle("comparing", second !== undefined);
    this.#drawMaps();
    parts.characters.draw(snapshot, this.#scales.losses);
    this.#mark();
    this.#drawCurves();
    this.#drawMeasures();
    this.#drawEncoding();
    parts.weights.href = url("weights", { run, tag, step });
    document.body.dataset.step = String(step);
  }

  #drawChoices() {
    const parts = this.#parts;
    const { view, runs, found } = this.#scene;
    const [first, second] = found.sides;
    const options = optionsOf(runs, first, view.metric);
    parts.run.show(options.run, first.run);
    parts.text.show(options.text, first.tag);
    parts.other.show(options.other, second?.run ?? "");
    parts.metric.show(options.metric, view.metric);
    parts.metric.element.title = METRICS.get(view.metric)?.[1] ?? "";
    parts.measured.show(options.measured, String(view.sample));
    parts.measured.element.hidden = options.measured.length === 0;
    parts.values.show(options.values, String(view.values));
    parts.values.element.hidden = found.sides.some(({ snapshot }) => !snapshot.valueNorms);
    parts.direction.show(options.direction, view.direction);
    parts.shows.show(options.shows, view.shows);
    parts.shows.element.hidden = !second;
    parts.sorted.checked = view.sorted;
  }

  #drawMaps() {
    const { heads, values } = this.#scene.view;
    const { sides } = this.#scene.found;
    this.#headMaps = sides.map((of, side) => {
      const { snapshot } = of;
      const numbers = heads.map((name) => snapshot.names.indexOf(name));
      const name = sides.length > 1 ? ["first", "second"][side] : values ? "weight × norm" : "weight";
      const title = sides.length === 1 ? headsLabel(heads) : `${name}, ${sideLabel(sides, side)}: ${headsLabel(heads)}`;
      const map = numbers.includes(-1) ? null : weightsOf(snapshot, numbers, values);
      return { name, title, snapshot, map, effect: effectOf(of, numbers) };
    });
    const note = [];
    if (this.#headMaps.some(({ map }) => !map))
      note.push(`Not every run has ${heads.length === 1 ? headsLabel(heads) : "all of these heads"}.`);
    if (sides.length > 1 && !sameText(sides[0].snapshot, sides[1].snapshot))
      note.push("The two are of different texts; the first is shown below.");
    this.#parts.note.textContent = note.join(" ");
    this.#parts.maps.draw(this.#headMaps, this.#scales, values ? PRODUCT : "weight", this.#most);
  }

  /** The current character, and its weight with each other, as a share of the largest. */
  #current() {
    const { view } = this.#scene;
    const position = view.position ?? this.#hovered;
    const [{ map, snapshot }] = this.#headMaps;
    const T = snapshot.tokens.length;
    return {
      position,
      values:
        map && position !== null && position < T
          ? weightsAt(map, T, position, view.direction).map((value) => value / this.#most)
          : null,
    };
  }

  /**
   * @param {number | null} position
   * @param {number | null} beside
   */
  hover(position, beside) {
    if (position === this.#hovered && beside === this.#beside) return;
    this.#hovered = position;
    this.#beside = beside;
    this.#mark();
  }

  /** Mark the view's pinned position or pair, if any. @param {import("./view.js").View} view */
  pin(view) {
    this.#scene.view = view;
    this.#mark();
  }

  /** Follows the pointer: must take less than a frame. */
  #mark() {
    const { view, found, factorsOf } = this.#scene;
    const { direction } = view;
    const { position, values } = this.#current();
    const beside = view.beside ?? this.#beside ?? (this.#hovered === position ? null : this.#hovered);
    this.#parts.maps.mark(position, beside, direction);
    this.#parts.characters.mark(values, position, [view.position, view.beside], this.#scales.weights);
    this.#parts.details.show(this.#headMaps, position, beside, direction, this.#most);
    const pair = position === null || beside === null ? null : [position, beside];
    this.#parts.explanation.show({ sides: found.sides, heads: view.heads, pair, factorsOf }, view.beside !== null);
  }

  #drawCurves() {
    const { view, found } = this.#scene;
    const { curves, losses, forming, sides } = found;
    const { training, curves: section } = this.#parts;
    const of = [...curves, ...losses, ...forming.map(([, each]) => each), ...sides.map(({ run }) => run)];
    if (this.#isNew("curves", [...of, view.metric, aboutCurves(sides[0], view), view.heads.join(), this.#theme]))
      section.hidden = !training.draw(found, view, this.#theme);
    training.mark(sides[0].step);
  }

  #drawMeasures() {
    const { view, found } = this.#scene;
    const [first] = found.sides;
    this.#parts.scatter.draw(first, view, this.#theme);
    const { weights } = this.#scales;
    if (this.#isNew("places", [first.run, first.measured?.statistics, view.heads.join(), weights]))
      this.#parts.places.draw(first, view.heads, weights);
  }

  #drawEncoding() {
    const { encoding } = this.#scene.found;
    const { columns } = this.#scene.view;
    this.#parts.encodings.hidden = !encoding;
    if (!encoding || !this.#isNew("encoding", [encoding.table, columns.join(), this.#theme])) return;
    this.#parts.encoding.draw(encoding.table, encoding.step, columns, this.#scales.differences, this.#theme);
  }

  /**
   * Whether the inputs of a part have changed since it was last drawn.
   * @param {string} part
   * @param {unknown[]} of
   */
  #isNew(part, of) {
    const last = this.#drawn.get(part);
    this.#drawn.set(part, of);
    return last?.length !== of.length || of.some((each, i) => each !== last[i]);
  }

  /** The whole view, for saving. */
  picture() {
    const { found, view } = this.#scene;
    const { heads, maps } = this.#parts;
    return pictureOf({
      titles: found.sides.map(fullLabel),
      heads: { names: heads.rows(), canvas: heads.canvas, chosen: view.heads },
      maps: maps.shown(),
      text: { snapshot: found.sides[0].snapshot, ...this.#current(), ...this.#scales },
    });
  }
}

/** @param {import("./colour.js").Theme} theme */
function scalesFor(theme) {
  return { weights: sequential(theme, BLUE), differences: diverging(theme), losses: sequential(theme, RED) };
}
