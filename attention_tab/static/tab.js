// @ts-check
// What is chosen and what has come for it, put into the parts of the page.

import { sameText, seen, weightsOf } from "./attention.js";
import { headsInWords, inFull, linesOf, optionsOf, sideInWords } from "./choices.js";
import { Client, url } from "./client.js";
import { diverging, sequential } from "./colour.js";
import { inWords } from "./dom.js";
import { lineColour } from "./encoding.js";
import { fitting, gather, runNames, settled, stepsOf } from "./gather.js";
import { METRICS } from "./help.js";
import { followTheme, isHidden, onOuterHash, outerLocation } from "./outside.js";
import { createParts } from "./parts.js";
import { pictureOf, pngBlob, save, svgBlob } from "./picture.js";
import { hashOf, viewOf } from "./view.js";

/** @typedef {import("./view.js").View} View */
/** @typedef {import("./reading.js").Look} Look */

const POLL = 3000; // milliseconds between looks for new snapshots
const BLUE = 255; // the hues of weights and of losses
const RED = 30;

export class Tab {
  #client = new Client();
  /** What the user has asked for, and the same with what there is in the place of what there is not. */
  #wanted = viewOf(outerLocation().hash);
  #view = this.#wanted;
  /** @type {import("./client.js").Runs} */
  #runs = {};
  /** @type {import("./gather.js").Found} */
  #found = { sides: [], curves: [], encoding: null };
  /** The chosen heads of each side. @type {Look[]} */
  #looks = [];
  #hovered = /** @type {number | null} */ (null);
  #beside = /** @type {number | null} */ (null);
  /** @type {Promise<void> | null} */
  #loading = null;
  #again = false; // whether the view has changed since it began to load
  #failed = false;
  /** What the curves and the encoding were drawn of. @type {Record<string, unknown[]>} */
  #drawn = {};
  #theme = /** @type {import("./colour.js").Theme} */ ("light");
  #scales = scalesFor("light");
  #parts = createParts({
    change: (changes) => this.#change(changes),
    compare: (otherRun) => this.#change({ otherRun, otherStep: otherRun === this.#view.run ? 0 : null }),
    choose: (name, added) => this.#choose(name, added),
    chooseAll: () => this.#change({ heads: [...this.#found.sides[0].snapshot.names] }),
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
      if (this.#found.sides.length > 0) this.#draw();
    });
    onOuterHash((hash) => this.#change(viewOf(hash)));
    for (;;) {
      if (!isHidden()) await this.#poll();
      await new Promise((resolve) => setTimeout(resolve, POLL));
    }
  }

  /** Look for what is new. */
  async #poll() {
    try {
      const runs = await this.#client.runs();
      const same = JSON.stringify(runs) === JSON.stringify(this.#runs);
      this.#runs = runs;
      if (!same || this.#failed || document.body.dataset.state === undefined) await this.#load();
    } catch (error) {
      this.#failed = true;
      this.#say(inWords(error));
    }
  }

  /** @param {Partial<View>} changes */
  #note(changes) {
    Object.assign(this.#wanted, changes);
    this.#view = { ...this.#view, ...changes };
    this.#parts.link.hidden = true;
  }

  /** @param {Partial<View>} changes */
  async #change(changes) {
    this.#note(changes);
    await this.#load();
  }

  /** Show what is wanted. One load at a time: what changes meanwhile is loaded after it, and only the latest of it. */
  #load() {
    this.#again = true;
    this.#loading ??= this.#loadAll().finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  async #loadAll() {
    while (this.#again) {
      this.#again = false;
      await this.#loadOnce();
    }
  }

  async #loadOnce() {
    const none = runNames(this.#runs).length === 0;
    this.#parts.empty.hidden = !none;
    this.#parts.page.hidden = none;
    document.body.dataset.state = none ? "empty" : "loading";
    this.#failed = false;
    if (none) return this.#say(null);
    try {
      const view = settled(this.#wanted, this.#runs);
      this.#found = await gather(this.#client, this.#runs, view);
      const { sides } = this.#found;
      // What has been chosen while this was on its way, and needs no loading, counts already.
      const { heads, place, direction } = this.#wanted;
      const snapshots = sides.map(({ snapshot }) => snapshot);
      this.#view = fitting({ ...view, heads, place, direction }, snapshots);
      this.#wanted.run ??= view.run; // whoever looks at a run is not taken to another when that begins
      const lost = [this.#wanted.run, this.#wanted.otherRun].find((run) => run !== null && !(run in this.#runs));
      this.#say(lost === undefined ? null : `There is no run ${lost} here.`);
      this.#draw();
      if (!this.#again) document.body.dataset.state = "ready";
      this.#fetchAhead();
    } catch (error) {
      this.#failed = true;
      document.body.dataset.state = "failed";
      this.#say(inWords(error));
    }
  }

  /** The snapshot that whoever goes on in the same direction wants next. */
  #fetchAhead() {
    const [{ run, tag, moments, step }] = this.#found.sides;
    const next = moments[stepsOf(moments).indexOf(step) + 1];
    if (next) this.#client.snapshot(run, tag, next).catch(() => {}); // said when it is wanted
  }

  #draw() {
    const parts = this.#parts;
    const view = this.#view;
    const [first, second] = this.#found.sides;
    const { run, tag, step, snapshot } = first;
    this.#drawChoices();
    parts.timeline.draw(stepsOf(first.moments), step, this.#wanted.step === null, this.#again);
    parts.otherTimeline.element.hidden = !second;
    if (second) parts.otherTimeline.draw(stepsOf(second.moments), second.step, false, this.#again);
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
    const view = this.#view;
    const [first, second] = this.#found.sides;
    const options = optionsOf(this.#runs, first);
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
    const { heads } = this.#view;
    const { sides } = this.#found;
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
    const place = this.#view.place ?? this.#hovered;
    const [{ map, snapshot }] = this.#looks;
    const T = snapshot.tokens.length;
    return { place, values: map && place !== null && place < T ? seen(map, T, place, this.#view.direction) : null };
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
    const { curves, sides } = this.#found;
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
    const { encoding } = this.#found;
    const { columns } = this.#view;
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

  /**
   * @param {string} name
   * @param {boolean} added to those chosen before, or taken away from them
   */
  #choose(name, added) {
    const before = this.#view.heads;
    const others = before.filter((head) => head !== name);
    if (!added) this.#note({ heads: [name] });
    else if (others.length === before.length) this.#note({ heads: [...before, name] });
    else if (others.length > 0) this.#note({ heads: others });
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

  /** Keep a character, or let it go if it is kept already. @param {number | null} place */
  #pin(place) {
    this.#note({ place: place === this.#view.place ? null : place });
    this.#mark();
  }

  /** @param {string | null} words that stay until the next load */
  #say(words) {
    this.#parts.alert.textContent = words ?? "";
    this.#parts.alert.hidden = words === null;
  }

  #showLink() {
    const [first, second] = this.#found.sides;
    const hash = hashOf({ ...this.#view, step: first.step, otherStep: second?.step ?? null });
    const { origin, pathname, search } = outerLocation();
    const { link } = this.#parts;
    link.value = `${origin}${pathname}${search}${hash}`;
    link.hidden = false;
    link.select();
    navigator.clipboard?.writeText(link.value).catch(() => {}); // or by hand: it is selected
  }

  /** @param {"png" | "svg"} kind */
  async #save(kind) {
    const { sides } = this.#found;
    try {
      const { heads, maps } = this.#parts;
      const picture = pictureOf({
        titles: sides.map(inFull),
        heads: { names: heads.rows(), canvas: heads.canvas, chosen: this.#view.heads },
        maps: maps.shown(),
        text: { snapshot: sides[0].snapshot, ...this.#looked(), ...this.#scales },
      });
      save(kind === "svg" ? svgBlob(picture) : await pngBlob(picture), `attention_step_${sides[0].step}.${kind}`);
    } catch (error) {
      this.#say(inWords(error));
    }
  }
}

/** @param {import("./colour.js").Theme} theme */
function scalesFor(theme) {
  return { weights: sequential(theme, BLUE), differences: diverging(theme), losses: sequential(theme, RED) };
}
