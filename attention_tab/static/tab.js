// @ts-check
// What is chosen and what has come for it, put into the parts of the page.

import { headName, headNumber, seen, weightsOf } from "./attention.js";
import { Client, url } from "./client.js";
import { diverging, sequential } from "./colour.js";
import { inWords } from "./dom.js";
import { lineColour } from "./encoding.js";
import { gather, runNames, settle, settleHeads, textName, textsOf } from "./gather.js";
import { METRICS } from "./help.js";
import { followTheme, outerLocation } from "./outside.js";
import { createParts } from "./parts.js";
import { pictureOf, pngBlob, save, svgBlob } from "./picture.js";
import { hashOf, viewOf } from "./view.js";

/** @typedef {import("./gather.js").Side} Side */
/** @typedef {import("./view.js").View} View */
/** @typedef {import("./reading.js").Look} Look */

const POLL = 3000; // milliseconds between looks for new snapshots
const BLUE = 255; // the hues of weights and of losses
const RED = 30;

export class Tab {
  #client = new Client();
  #view = viewOf(outerLocation().hash);
  /** @type {import("./client.js").Runs} */
  #runs = {};
  /** One side, or two to be compared. @type {Side[]} */
  #sides = [];
  /** The chosen heads of each side that has them. @type {Look[]} */
  #looks = [];
  /** @type {import("./client.js").Curves[]} */
  #curves = [];
  /** @type {import("./format.js").Encoding | null} */
  #encoding = null;
  #hovered = /** @type {number | null} */ (null);
  #beside = /** @type {number | null} */ (null);
  #request = 0;
  #theme = /** @type {import("./colour.js").Theme} */ ("light");
  #scales = scalesFor("light");
  #parts = createParts({
    change: (changes) => this.#change(changes),
    compare: (otherRun) => this.#change({ otherRun, otherStep: otherRun === this.#view.run ? 0 : null }),
    choose: (name, added) => this.#choose(name, added),
    chooseAll: () => this.#change({ heads: this.#sides[0].snapshot.places.map(headName) }),
    hover: (place, beside) => this.#hover(place, beside),
    hoverMap: (query, key) => (this.#view.direction === "from" ? this.#hover(query, key) : this.#hover(key, query)),
    pin: (place) => this.#pin(place),
    pinMap: (query, key) => this.#pin(this.#view.direction === "from" ? query : key),
    link: () => this.#showLink(),
    save: (kind) => this.#save(kind),
  });

  get element() {
    return this.#parts.element;
  }

  async start() {
    followTheme((theme) => {
      this.#theme = theme;
      this.#scales = scalesFor(theme);
      document.documentElement.dataset.theme = theme;
      this.#draw();
    });
    for (;;) {
      await this.#poll();
      await new Promise((resolve) => setTimeout(resolve, POLL));
    }
  }

  /** Look for what is new. */
  async #poll() {
    if (document.hidden) return;
    try {
      const runs = await this.#client.runs();
      const same = JSON.stringify(runs) === JSON.stringify(this.#runs);
      this.#runs = runs;
      if (!same || this.#sides.length === 0 || !this.#parts.alert.hidden) await this.#load();
    } catch (error) {
      this.#say(inWords(error));
    }
  }

  /** @param {Partial<View>} changes */
  async #change(changes) {
    Object.assign(this.#view, changes);
    this.#parts.link.hidden = true;
    await this.#load();
  }

  /** Fetch what the view needs, and show it unless the view has changed again meanwhile. */
  async #load() {
    const request = ++this.#request;
    const none = runNames(this.#runs).length === 0;
    this.#parts.empty.hidden = !none;
    this.#parts.page.hidden = none;
    document.body.dataset.state = none ? "empty" : "loading";
    if (none) return;
    try {
      const lost = settle(this.#view, this.#runs);
      const found = await gather(this.#client, this.#runs, this.#view);
      if (request !== this.#request) return;
      settleHeads(this.#view, found.sides[0].snapshot);
      this.#sides = found.sides;
      this.#curves = found.curves;
      this.#encoding = found.encoding;
      this.#say(lost === null ? null : `There is no run ${lost} here any more.`);
      this.#draw();
      document.body.dataset.state = "ready";
      this.#fetchAhead();
    } catch (error) {
      if (request !== this.#request) return;
      document.body.dataset.state = "failed";
      this.#say(inWords(error));
    }
  }

  /** The snapshot that whoever goes on in the same direction wants next. */
  #fetchAhead() {
    const [{ run, tag, steps, step }] = this.#sides;
    const next = steps[steps.indexOf(step) + 1];
    if (next !== undefined) this.#client.snapshot(run, tag, next).catch(() => {}); // said when it is wanted
  }

  #draw() {
    if (this.#sides.length === 0) return;
    const [first, second] = this.#sides;
    const view = this.#view;
    this.#drawChoices();
    this.#parts.timeline.draw(first.steps, first.step, view.step === null);
    this.#parts.otherTimeline.element.hidden = !second;
    if (second) this.#parts.otherTimeline.draw(second.steps, second.step, false);
    const alike = second && first.snapshot.tokens.length === second.snapshot.tokens.length;
    const shown = second && view.shows === "second" ? second : first;
    const without = alike && view.shows === "difference" ? second.snapshot : null;
    this.#parts.heads.draw(shown.snapshot, without, view, this.#scales);
    this.#parts.main.classList.toggle("comparing", second !== undefined);
    this.#drawMaps();
    this.#parts.characters.draw(first.snapshot, this.#scales.losses);
    this.#mark();
    this.#drawCurves();
    if (this.#encoding) this.#parts.encoding.draw(this.#encoding, view.columns, this.#scales.differences, this.#theme);
    this.#parts.encodings.hidden = !this.#encoding;
    this.#parts.weights.href = url("weights", { run: first.run, tag: first.tag, step: first.step });
    document.body.dataset.step = String(first.step);
  }

  #drawChoices() {
    const [first, second] = this.#sides;
    const view = this.#view;
    const names = runNames(this.#runs);
    this.#parts.run.show(
      names.map((name) => [name, name]),
      first.run,
    );
    this.#parts.text.show(
      textsOf(this.#runs[first.run]).map((tag) => [tag, textName(tag)]),
      first.tag,
    );
    this.#parts.other.show(
      [
        ["", "nothing"],
        ...names.map(
          (name) => /** @type {[string, string]} */ ([name, name === first.run ? "another step of this run" : name]),
        ),
      ],
      second?.run ?? "",
    );
    const metrics = [...first.snapshot.metrics.keys()];
    this.#parts.metric.show(
      metrics.map((name) => [name, METRICS[name]?.[0] ?? name]),
      view.metric,
    );
    this.#parts.sorted.checked = view.sorted;
    this.#parts.direction.show(
      [
        ["from", "attends to"],
        ["to", "is attended to by"],
      ],
      view.direction,
    );
    this.#parts.shows.element.hidden = !second;
    this.#parts.shows.show(
      [
        ["first", "first"],
        ["second", "second"],
        ["difference", "first − second"],
      ],
      view.shows,
    );
  }

  #drawMaps() {
    const { heads } = this.#view;
    const what = heads.length === 1 ? `head ${heads[0]}` : `mean of ${heads.length} heads`;
    this.#looks = this.#sides.flatMap(({ snapshot }, side) => {
      const numbers = heads.map((name) => headNumber(snapshot, name));
      if (numbers.includes(-1)) return [];
      const name = this.#sides.length === 1 ? "weight" : ["first", "second"][side];
      const title = this.#sides.length === 1 ? what : `${name}, ${this.#nameOf(side)}: ${what}`;
      return [{ name, title, snapshot, map: weightsOf(snapshot, numbers) }];
    });
    const missing = this.#looks.length < this.#sides.length;
    this.#parts.said.textContent = missing
      ? `Not every run has ${heads.length === 1 ? what : "all of these heads"}.`
      : "";
    this.#parts.maps.draw(this.#looks, this.#scales);
  }

  /** By what two sides differ. @param {number} side */
  #nameOf(side) {
    const { run, step } = this.#sides[side];
    return this.#sides.every((other) => other.run === run) ? `step ${step}` : `${run}, step ${step}`;
  }

  /** The character that is looked at, and what it sees of each. */
  #looked() {
    const place = this.#view.place ?? this.#hovered;
    const [first] = this.#looks;
    const T = first.snapshot.tokens.length;
    return { place, values: place !== null && place < T ? seen(first.map, T, place, this.#view.direction) : null };
  }

  /** What follows the pointer: must take less than a frame. */
  #mark() {
    const { direction, place: pinned } = this.#view;
    const { place, values } = this.#looked();
    const beside = this.#beside ?? (this.#hovered === place ? null : this.#hovered);
    this.#parts.maps.mark(place, beside, direction);
    this.#parts.characters.mark(values, place, pinned, this.#scales.weights);
    this.#parts.details.show(this.#looks, place, beside, direction);
  }

  #drawCurves() {
    const view = this.#view;
    const faint = getComputedStyle(document.documentElement).getPropertyValue("--faint");
    const lines = this.#curves.flatMap((curves, side) =>
      (curves.get(view.metric) ?? []).map(({ layer, head, points }) => {
        const name = headName({ layer, head });
        const chosen = view.heads.indexOf(name);
        const strong = chosen >= 0;
        const whose = this.#sides.length > 1 ? `${this.#sides[side].run}, ` : "";
        return {
          name: `${whose}head ${name}`,
          points,
          strong,
          dashed: side > 0,
          colour: strong ? lineColour(chosen, this.#theme) : faint,
        };
      }),
    );
    // Of the other run, if it is not the same, only what is chosen: it would be a thicket.
    const shown = lines
      .filter((line) => line.strong || !line.dashed)
      .sort((a, b) => Number(a.strong) - Number(b.strong));
    this.#parts.curves.hidden = shown.every((line) => line.points.length === 0);
    this.#parts.chart.draw(shown, "step", METRICS[view.metric]?.[0] ?? view.metric);
    this.#parts.chart.mark(this.#sides[0].step);
  }

  /**
   * @param {string} name
   * @param {boolean} added to those chosen before, or taken away from them
   */
  #choose(name, added) {
    const others = this.#view.heads.filter((head) => head !== name);
    if (!added) this.#view.heads = [name];
    else if (others.length < this.#view.heads.length && others.length > 0) this.#view.heads = others;
    else this.#view.heads = [...others, name];
    this.#parts.link.hidden = true;
    this.#draw();
  }

  /**
   * @param {number | null} place
   * @param {number | null} beside
   */
  #hover(place, beside) {
    if (place === this.#hovered && beside === this.#beside) return;
    this.#hovered = place;
    this.#beside = beside;
    this.#mark();
  }

  /** @param {number | null} place */
  #pin(place) {
    this.#view.place = place === this.#view.place ? null : place;
    this.#parts.link.hidden = true;
    this.#mark();
  }

  /** @param {string | null} words that stay until all is well again */
  #say(words) {
    this.#parts.alert.textContent = words ?? "";
    this.#parts.alert.hidden = words === null;
  }

  #showLink() {
    const [first, second] = this.#sides;
    const hash = hashOf({ ...this.#view, step: first.step, otherStep: second?.step ?? null });
    const { origin, pathname, search } = outerLocation();
    this.#parts.link.value = `${origin}${pathname}${search}${hash}`;
    this.#parts.link.hidden = false;
    this.#parts.link.select();
    navigator.clipboard?.writeText(this.#parts.link.value).catch(() => {}); // or by hand: it is selected
  }

  /** @param {"png" | "svg"} kind */
  async #save(kind) {
    const [first] = this.#sides;
    try {
      const { heads, maps } = this.#parts;
      const picture = pictureOf({
        title: this.#sides.map(({ run, tag, step }) => `${run}, ${textName(tag)}, step ${step}`).join(" beside "),
        heads: { names: heads.rows(), canvas: heads.canvas, chosen: this.#view.heads },
        maps: maps.shown(),
        text: { snapshot: first.snapshot, ...this.#looked(), ...this.#scales },
      });
      save(kind === "svg" ? svgBlob(picture) : await pngBlob(picture), `attention_step_${first.step}.${kind}`);
    } catch (error) {
      this.#say(inWords(error));
    }
  }
}

/** @param {import("./colour.js").Theme} theme */
function scalesFor(theme) {
  return { weights: sequential(theme, BLUE), differences: diverging(theme), losses: sequential(theme, RED) };
}
