// @ts-check
// Requests to the plugin, cached; errors are sentences for the user.

import { decodeEncoding, decodeSnapshot } from "./format.js";
import { decodeScores } from "./scores.js";
import { decodeStatistics } from "./statistics.js";

/** @typedef {import("./format.js").Snapshot} Snapshot */
/** A step and its wall time in seconds. @typedef {{step: number, time: number}} Moment */
/** The last step of each tag of each run. @typedef {Record<string, Record<string, Moment>>} Runs */
/** Points of each split. @typedef {Record<string, [number, number][]>} Losses */
/** One metric of each head. @typedef {{layer: number, head: number, points: [number, number][]}[]} Curves */

const MAX_BYTES = 2 ** 25; // of cached snapshots
const MAX_ANSWERS = 32; // cached, of all other routes

export class Client {
  #ask;

  /** Valid while the last step is the same. @type {Map<string, {last: number, promise: Promise<any>}>} */
  #answers = new Map();

  /** The most recently used is last. @type {Map<string, {promise: Promise<Snapshot>, bytes: number}>} */
  #snapshots = new Map();

  /** @param {(address: string) => Promise<Response>} ask */
  constructor(ask = (address) => fetch(address)) {
    this.#ask = ask;
  }

  /** @returns {Promise<Runs>} */
  runs() {
    return this.#json("runs", {});
  }

  /**
   * @param {string} run
   * @param {string} tag
   * @param {number} last wall time of the last step: a new one invalidates the cached answer
   * @returns {Promise<Moment[]>}
   */
  steps(run, tag, last) {
    const read = (/** @type {[number, number][]} */ steps) => steps.map(([step, time]) => ({ step, time }));
    return this.#answer("steps", { run, tag }, last, read);
  }

  /**
   * @param {string} run
   * @param {string} metric
   * @param {number} last
   * @returns {Promise<Curves>}
   */
  curves(run, metric, last) {
    const read = (/** @type {[number, number, [number, number][]][]} */ heads) =>
      heads.map(([layer, head, points]) => ({ layer, head, points }));
    return this.#answer("curves", { run, metric }, last, read);
  }

  /** @param {string} run @param {number} last @returns {Promise<Losses>} */
  losses(run, last) {
    return this.#answer("losses", { run }, last, (losses) => losses);
  }

  encoding = this.#reader(decodeEncoding);
  statistics = this.#reader(decodeStatistics);
  scores = this.#reader(decodeScores);

  /** @param {string} run @param {string} tag @param {Moment} moment */
  snapshot(run, tag, { step, time }) {
    const key = JSON.stringify([run, tag, step, time]); // with the time, as a run may be written again
    const address = url("snapshot", { run, tag, step });
    const held = this.#snapshots.get(key) ?? { promise: this.#load(key, address), bytes: 0 };
    this.#snapshots.delete(key);
    this.#snapshots.set(key, held);
    return held.promise;
  }

  /** The size of the snapshot cache. */
  get held() {
    return {
      snapshots: this.#snapshots.size,
      bytes: [...this.#snapshots.values()].reduce((sum, { bytes }) => sum + bytes, 0),
    };
  }

  /**
   * @template Answer
   * @param {string} key
   * @param {number} last
   * @param {() => Promise<Answer>} load
   * @returns {Promise<Answer>}
   */
  #cached(key, last, load) {
    const known = this.#answers.get(key);
    if (known && known.last === last) return known.promise;
    const promise = load().catch((error) => {
      this.#answers.delete(key);
      throw error;
    });
    this.#answers.delete(key);
    this.#answers.set(key, { last, promise });
    for (const [oldest] of this.#answers) if (this.#answers.size > MAX_ANSWERS) this.#answers.delete(oldest);
    return promise;
  }

  /**
   * @template Json, Answer
   * @param {string} route
   * @param {Record<string, string>} query
   * @param {number} last
   * @param {(answer: Json) => Answer} read
   */
  #answer(route, query, last, read) {
    return this.#cached(url(route, query), last, async () => read(await this.#json(route, query)));
  }

  /**
   * @template Answer
   * @param {(blob: ArrayBuffer) => Promise<Answer>} decode
   */
  #reader(decode) {
    return (/** @type {string} */ run, /** @type {string} */ tag, /** @type {Moment} */ { step, time }) => {
      const address = url("snapshot", { run, tag, step });
      return this.#cached(address, time, async () => decode(await this.#bytes(address)));
    };
  }

  /** @param {string} key @param {string} address */
  async #load(key, address) {
    try {
      const snapshot = await decodeSnapshot(await this.#bytes(address));
      const held = this.#snapshots.get(key);
      if (held) held.bytes = snapshot.levels.length;
      for (const [oldest] of this.#snapshots) {
        if (this.held.bytes <= MAX_BYTES) break;
        if (oldest !== key) this.#snapshots.delete(oldest);
      }
      return snapshot;
    } catch (error) {
      this.#snapshots.delete(key); // so that the next request tries again
      throw error;
    }
  }

  /** @param {string} route @param {Record<string, string | number>} query */
  async #json(route, query) {
    const text = await this.#request(url(route, query), (response) => response.text());
    try {
      return JSON.parse(text);
    } catch {
      throw new Error(`TensorBoard's answer is no JSON: ${text.slice(0, 100)}`);
    }
  }

  /** @param {string} address */
  #bytes(address) {
    return this.#request(address, (response) => response.arrayBuffer());
  }

  /**
   * @template Body
   * @param {string} address
   * @param {(response: Response) => Promise<Body>} read
   */
  async #request(address, read) {
    let refusal = "";
    try {
      const response = await this.#ask(address);
      if (response.ok) return await read(response);
      refusal = (await response.text()).slice(0, 300) || String(response.status);
    } catch {
      throw new Error("TensorBoard does not answer. Is it still running?");
    }
    throw new Error(`TensorBoard says: ${refusal}`);
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
