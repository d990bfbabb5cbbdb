// @ts-check
// What TensorBoard has read of the runs, and an error in words where it cannot be had.

import { decodeEncoding, decodeSnapshot } from "./format.js";

/** @typedef {import("./format.js").Snapshot} Snapshot */
/** A step, and when it was written. @typedef {{step: number, time: number}} Moment */
/** The last step of each tag of each run. @typedef {Record<string, Record<string, Moment>>} Runs */
/** @typedef {Map<string, {layer: number, head: number, points: [number, number][]}[]>} Curves */

const HELD = 2 ** 25; // bytes of snapshots that are kept for going back and forth
const ANSWERS = 16; // of the other kinds

export class Client {
  /** What is as it was while the last step is the same. @type {Map<string, {last: number, promise: Promise<any>}>} */
  #answers = new Map();

  /** The most recently used last. @type {Map<string, {promise: Promise<Snapshot>, bytes: number}>} */
  #snapshots = new Map();

  /** @returns {Promise<Runs>} */
  runs() {
    return this.#json("runs", {});
  }

  /**
   * @param {string} run
   * @param {string} tag
   * @param {number} last when the last of them was written, by which to know whether there are new ones
   * @returns {Promise<Moment[]>}
   */
  steps(run, tag, last) {
    return this.#remembered(JSON.stringify(["steps", run, tag]), last, async () => {
      /** @type {[number, number][]} */
      const steps = await this.#json("steps", { run, tag });
      return steps.map(([step, time]) => ({ step, time }));
    });
  }

  /**
   * @param {string} run
   * @param {number} last
   * @returns {Promise<Curves>}
   */
  curves(run, last) {
    return this.#remembered(JSON.stringify(["curves", run]), last, async () => {
      /** @type {Record<string, [number, number, [number, number][]][]>} */
      const found = await this.#json("curves", { run });
      const named = (/** @type {[number, number, [number, number][]]} */ [layer, head, points]) => ({
        layer,
        head,
        points,
      });
      return new Map(Object.entries(found).map(([metric, heads]) => [metric, heads.map(named)]));
    });
  }

  /**
   * @param {string} run
   * @param {string} tag
   * @param {Moment} moment
   * @returns {Promise<import("./format.js").Encoding>}
   */
  encoding(run, tag, { step, time }) {
    return this.#remembered(JSON.stringify(["encoding", run, step]), time, async () =>
      decodeEncoding(await this.#bytes(url("snapshot", { run, tag, step }))),
    );
  }

  /**
   * @param {string} run
   * @param {string} tag
   * @param {Moment} moment
   */
  snapshot(run, tag, { step, time }) {
    const key = JSON.stringify([run, tag, step, time]); // the time, as a run may be written anew
    const held = this.#snapshots.get(key) ?? {
      promise: this.#load(key, url("snapshot", { run, tag, step })),
      bytes: 0,
    };
    this.#snapshots.delete(key);
    this.#snapshots.set(key, held);
    return held.promise;
  }

  /** How much is held. */
  get held() {
    return {
      snapshots: this.#snapshots.size,
      bytes: [...this.#snapshots.values()].reduce((sum, { bytes }) => sum + bytes, 0),
    };
  }

  /**
   * @template Answer
   * @param {string} what
   * @param {number} last
   * @param {() => Promise<Answer>} ask
   * @returns {Promise<Answer>}
   */
  #remembered(what, last, ask) {
    const known = this.#answers.get(what);
    if (known && known.last === last) return known.promise;
    const promise = ask().catch((error) => {
      this.#answers.delete(what);
      throw error;
    });
    this.#answers.delete(what);
    this.#answers.set(what, { last, promise });
    for (const [oldest] of this.#answers) if (this.#answers.size > ANSWERS) this.#answers.delete(oldest);
    return promise;
  }

  /**
   * @param {string} key
   * @param {string} address
   */
  async #load(key, address) {
    try {
      const snapshot = await decodeSnapshot(await this.#bytes(address));
      const held = this.#snapshots.get(key);
      if (held) held.bytes = snapshot.levels.length;
      for (const [oldest] of this.#snapshots) {
        if (this.held.bytes <= HELD) break;
        if (oldest !== key) this.#snapshots.delete(oldest);
      }
      return snapshot;
    } catch (error) {
      this.#snapshots.delete(key); // it may go better next time
      throw error;
    }
  }

  /**
   * @param {string} route
   * @param {Record<string, string | number>} query
   */
  async #json(route, query) {
    const text = await answer(url(route, query), (response) => response.text());
    try {
      return JSON.parse(text);
    } catch {
      throw new Error(`TensorBoard gave an answer that cannot be read: ${text.slice(0, 100)}`);
    }
  }

  /** @param {string} address */
  #bytes(address) {
    return answer(address, (response) => response.arrayBuffer());
  }
}

/**
 * The address of a route; the page's base is the plugin's.
 * @param {string} route
 * @param {Record<string, string | number>} query
 */
export function url(route, query) {
  return `${route}?${new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]))}`;
}

/**
 * @template Body
 * @param {string} address
 * @param {(response: Response) => Promise<Body>} read
 * @returns {Promise<Body>}
 */
async function answer(address, read) {
  let response;
  let refusal = "";
  try {
    response = await fetch(address);
    if (response.ok) return await read(response);
    refusal = (await response.text()).slice(0, 300);
  } catch {
    throw new Error("TensorBoard does not answer. Is it still running?");
  }
  throw new Error(`TensorBoard says: ${refusal || response.status}`);
}
