// @ts-check
// What TensorBoard has read of the runs, and an error in words where it cannot be had.

import { decodeEncoding, decodeSnapshot } from "./format.js";

/** @typedef {import("./format.js").Snapshot} Snapshot */
/** The last step of each tag of each run, and when it was written. @typedef {Record<string, Record<string, {step: number, time: number}>>} Runs */
/** @typedef {Map<string, {layer: number, head: number, points: [number, number][]}[]>} Curves */

const HELD = 2 ** 25; // bytes of snapshots that are kept for going back and forth

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
   * @returns {Promise<number[]>}
   */
  steps(run, tag, last) {
    return this.#remembered(JSON.stringify(["steps", run, tag]), last, async () => {
      const steps = await this.#json("steps", { run, tag });
      return steps.map((/** @type {[number, number]} */ [step]) => step);
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
   * @param {number} step
   * @returns {Promise<import("./format.js").Encoding>}
   */
  encoding(run, tag, step) {
    return this.#remembered(JSON.stringify(["encoding", run]), step, async () =>
      decodeEncoding(await this.#bytes(url("snapshot", { run, tag, step }))),
    );
  }

  /**
   * @param {string} run
   * @param {string} tag
   * @param {number} step
   */
  snapshot(run, tag, step) {
    const address = url("snapshot", { run, tag, step });
    const held = this.#snapshots.get(address) ?? { promise: this.#load(address), bytes: 0 };
    this.#snapshots.delete(address);
    this.#snapshots.set(address, held);
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
    if (known?.last === last) return known.promise;
    const promise = ask().catch((error) => {
      this.#answers.delete(what);
      throw error;
    });
    this.#answers.set(what, { last, promise });
    return promise;
  }

  /** @param {string} address */
  async #load(address) {
    try {
      const snapshot = await decodeSnapshot(await this.#bytes(address));
      const held = this.#snapshots.get(address);
      if (held) held.bytes = snapshot.levels.length;
      for (const [oldest] of this.#snapshots) {
        if (this.held.bytes <= HELD) break;
        if (oldest !== address) this.#snapshots.delete(oldest);
      }
      return snapshot;
    } catch (error) {
      this.#snapshots.delete(address); // it may go better next time
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
