// @ts-check
// The state of the tab: the user's choices, and loading what they need.

import { Client } from "./client.js";
import { messageOf } from "./dom.js";
import { fitted, gather, runNames, resolved, scoresOf, stepsOf } from "./gather.js";
import { followTheme, isHidden, onOuterHash, onShown, outerLocation } from "./outside.js";
import { createParts } from "./parts.js";
import { pngBlob, save, svgBlob } from "./picture.js";
import { Shown } from "./shown.js";
import { hashOf, paired, viewOf } from "./view.js";

/** @typedef {import("./view.js").View} View */

const SHORTEST = 3000; // milliseconds between requests for new snapshots, right after one came
const LONGEST = 10_000; // when none has come for long
const SLOWER = 1.25;

export class Tab {
  #client;
  /** The user's choices, and the same with what does not exist replaced. */
  #wanted = viewOf(outerLocation().hash);
  #view = this.#wanted;
  /** @type {import("./client.js").Runs} */
  #runs = {};
  /** @type {import("./gather.js").Found} */
  #found = { sides: [], curves: [], losses: [], forming: [], encoding: null };
  /** @type {Promise<void> | null} */
  #loading = null;
  #again = false; // whether the view has changed since loading began
  #failed = false;
  #parts = createParts({
    change: (changes) => this.#change(changes),
    compare: (otherRun) => this.#change({ otherRun, otherStep: otherRun === this.#view.run ? 0 : null }),
    choose: (name, added) => this.#choose(name, added),
    chooseAll: () => this.#change({ heads: [...this.#found.sides[0].snapshot.names] }),
    hover: (position, beside) => this.#shown.hover(position, beside),
    hoverMap: (query, key) =>
      this.#view.direction === "from" ? this.#shown.hover(query, key) : this.#shown.hover(key, query),
    pin: (position, second) => {
      const first = second ? this.#view.position : null;
      this.#pin(first ?? position, first === null ? null : position);
    },
    pinMap: (query, key) => this.#pin(query, key),
    link: () => this.#showLink(),
    save: (kind) => this.#save(kind),
  });
  #shown = new Shown(this.#parts);

  constructor(client = new Client()) {
    this.#client = client;
  }

  get element() {
    return this.#parts.element;
  }

  async start() {
    followTheme((theme) => this.#shown.setTheme(theme));
    onOuterHash((hash) => this.#change(viewOf(hash)));
    let wake = () => {};
    onShown(() => wake());
    for (let pause = SHORTEST; ; ) {
      const changed = !isHidden() && (await this.#poll());
      pause = changed ? SHORTEST : Math.min(SLOWER * pause, LONGEST);
      await new Promise((resolve) => {
        wake = () => resolve(null);
        setTimeout(wake, pause);
      });
    }
  }

  /** Look for new runs and steps, and tell whether there are any. */
  async #poll() {
    try {
      const runs = await this.#client.runs();
      const same = JSON.stringify(runs) === JSON.stringify(this.#runs);
      this.#runs = runs;
      if (!same || this.#failed || document.body.dataset.state === undefined) await this.#load();
      return !same;
    } catch (error) {
      this.#failed = true;
      this.#say(messageOf(error));
      return false;
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

  /** Show the wanted view. One load at a time: of changes during it, only the latest is loaded next. */
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
      const view = resolved(this.#wanted, this.#runs);
      this.#found = await gather(this.#client, this.#runs, view);
      const { sides } = this.#found;
      // Choices made during loading that need no loading themselves already count.
      const { heads, position, beside, direction } = this.#wanted;
      this.#view = fitted({ ...view, heads, position, beside, direction }, sides);
      this.#wanted.run ??= view.run; // a new run does not take the user away from this one
      const lost = [this.#wanted.run, this.#wanted.otherRun].find(
        (run) => run !== null && !Object.hasOwn(this.#runs, run),
      );
      this.#say(lost === undefined ? null : `There is no run ${lost} here.`);
      this.#draw();
      if (!this.#again) document.body.dataset.state = "ready";
      this.#fetchAhead();
    } catch (error) {
      this.#failed = true;
      document.body.dataset.state = "failed";
      this.#say(messageOf(error));
    }
  }

  #draw() {
    const follows = this.#wanted.step === null;
    const scene = { runs: this.#runs, found: this.#found, view: this.#view, follows, moving: this.#again };
    this.#shown.draw({ ...scene, factorsOf: (side) => scoresOf(this.#client, this.#runs, side) });
  }

  /** Prefetch the next snapshot. */
  #fetchAhead() {
    const [{ run, tag, moments, step }] = this.#found.sides;
    const next = moments[stepsOf(moments).indexOf(step) + 1];
    if (next) this.#client.snapshot(run, tag, next).catch(() => {}); // reported when it is wanted
  }

  /**
   * @param {string} name
   * @param {boolean} added to the chosen heads, or removed from them
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
   * Pin a position or a pair, or unpin them.
   * @param {number | null} one
   * @param {number | null} other
   */
  #pin(one, other) {
    const { position, beside, direction } = this.#view;
    const pinned = paired({ position: one, beside: other, direction });
    const same = pinned.position === position && pinned.beside === beside;
    this.#note(same ? { position: null, beside: null } : pinned);
    this.#shown.pin(this.#view);
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
    navigator.clipboard?.writeText(link.value).catch(() => {}); // the user can copy it: it is selected
  }

  /** @param {"png" | "svg"} kind */
  async #save(kind) {
    const { sides } = this.#found;
    try {
      const picture = this.#shown.picture();
      save(kind === "svg" ? svgBlob(picture) : await pngBlob(picture), `attention_step_${sides[0].step}.${kind}`);
    } catch (error) {
      this.#say(messageOf(error));
    }
  }
}
