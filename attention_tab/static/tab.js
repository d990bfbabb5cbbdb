// @ts-check
// What is chosen, and what must come for it.

import { Client } from "./client.js";
import { inWords } from "./dom.js";
import { fitting, gather, runNames, settled, stepsOf } from "./gather.js";
import { followTheme, isHidden, onOuterHash, outerLocation } from "./outside.js";
import { createParts } from "./parts.js";
import { pngBlob, save, svgBlob } from "./picture.js";
import { Shown } from "./shown.js";
import { hashOf, viewOf } from "./view.js";

/** @typedef {import("./view.js").View} View */

const POLL = 3000; // milliseconds between looks for new snapshots

export class Tab {
  #client = new Client();
  /** What the user has asked for, and the same with what there is in the place of what there is not. */
  #wanted = viewOf(outerLocation().hash);
  #view = this.#wanted;
  /** @type {import("./client.js").Runs} */
  #runs = {};
  /** @type {import("./gather.js").Found} */
  #found = { sides: [], curves: [], encoding: null };
  /** @type {Promise<void> | null} */
  #loading = null;
  #again = false; // whether the view has changed since it began to load
  #failed = false;
  #parts = createParts({
    change: (changes) => this.#change(changes),
    compare: (otherRun) => this.#change({ otherRun, otherStep: otherRun === this.#view.run ? 0 : null }),
    choose: (name, added) => this.#choose(name, added),
    chooseAll: () => this.#change({ heads: [...this.#found.sides[0].snapshot.names] }),
    hover: (place, beside) => this.#shown.hover(place, beside),
    hoverMap: (query, key) =>
      this.#view.direction === "from" ? this.#shown.hover(query, key) : this.#shown.hover(key, query),
    pin: (place) => this.#pin(place),
    pinMap: (query, key) => this.#pin(this.#view.direction === "from" ? query : key),
    link: () => this.#showLink(),
    save: (kind) => this.#save(kind),
  });
  #shown = new Shown(this.#parts);

  get element() {
    return this.#parts.element;
  }

  async start() {
    followTheme((theme) => this.#shown.dress(theme));
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

  #draw() {
    const follows = this.#wanted.step === null;
    this.#shown.draw({ runs: this.#runs, found: this.#found, view: this.#view, follows, moving: this.#again });
  }

  /** The snapshot that whoever goes on in the same direction wants next. */
  #fetchAhead() {
    const [{ run, tag, moments, step }] = this.#found.sides;
    const next = moments[stepsOf(moments).indexOf(step) + 1];
    if (next) this.#client.snapshot(run, tag, next).catch(() => {}); // said when it is wanted
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

  /** Keep a character, or let it go if it is kept already. @param {number | null} place */
  #pin(place) {
    this.#note({ place: place === this.#view.place ? null : place });
    this.#shown.keep(this.#view);
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
      const picture = this.#shown.picture();
      save(kind === "svg" ? svgBlob(picture) : await pngBlob(picture), `attention_step_${sides[0].step}.${kind}`);
    } catch (error) {
      this.#say(inWords(error));
    }
  }
}
