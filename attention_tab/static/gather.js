// @ts-check
// From what there is to what is to be seen: which run, text and step a view means, and what must be fetched for it.

import { headNumber, nearest } from "./attention.js";

/** @typedef {import("./client.js").Client} Client */
/** @typedef {import("./client.js").Runs} Runs */
/** @typedef {import("./format.js").Snapshot} Snapshot */
/** @typedef {import("./view.js").View} View */
/** @typedef {{run: string, tag: string, steps: number[], step: number, snapshot: Snapshot}} Side */

/**
 * @typedef {object} Found
 * @property {Side[]} sides one, or two to be compared
 * @property {import("./client.js").Curves[]} curves of each
 * @property {import("./format.js").Encoding | null} encoding of the first
 */

const TAG = "attention_tab/";
const FIRST = `${TAG}validation`;
const ENCODING = `${TAG}encoding`;

/**
 * The tags of texts, that of the validation split first.
 * @param {Runs[string]} tags
 */
export function textsOf(tags) {
  return Object.keys(tags)
    .filter((tag) => tag !== ENCODING)
    .sort((a, b) => Number(b === FIRST) - Number(a === FIRST) || a.localeCompare(b, "en", { numeric: true }));
}

/** @param {string} tag */
export const textName = (tag) => tag.slice(TAG.length).replaceAll("_", " ");

/**
 * The runs that have texts.
 * @param {Runs} runs
 */
export function runNames(runs) {
  const names = Object.keys(runs).filter((run) => textsOf(runs[run]).length > 0);
  return names.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
}

/** @param {Runs[string]} tags */
const latest = (tags) => Math.max(...Object.values(tags).map(({ time }) => time));

/**
 * Put what there is in the place of what there is not.
 * @param {View} view
 * @param {Runs} runs at least one
 * @returns {string | null} a run that the view wanted in vain
 */
export function settle(view, runs) {
  const names = runNames(runs);
  const lost = [view.run, view.otherRun].find((run) => run !== null && !names.includes(run)) ?? null;
  const newest = names.reduce((a, b) => (latest(runs[b]) > latest(runs[a]) ? b : a));
  if (view.run === null || !names.includes(view.run)) view.run = newest;
  if (view.otherRun !== null && !names.includes(view.otherRun)) view.otherRun = null;
  const texts = textsOf(runs[view.run]);
  if (view.tag === null || !texts.includes(view.tag)) view.tag = texts[0];
  return lost;
}

/**
 * @param {Client} client
 * @param {Runs} runs
 * @param {View} view that is settled
 * @returns {Promise<Found>}
 */
export async function gather(client, runs, view) {
  const { run, otherRun, tag } = view;
  if (run === null || tag === null) throw new Error("expected a view that is settled");
  const compared = otherRun === null ? [run] : [run, otherRun];
  const rest = Promise.all([
    Promise.all(compared.map((name) => client.curves(name, latest(runs[name])))),
    ENCODING in runs[run] ? client.encoding(run, ENCODING, runs[run][ENCODING].step) : null,
  ]);
  rest.catch(() => {}); // said below, where it is waited for
  const first = await sideOf(client, runs, run, tag, view.step);
  const sides = [first];
  if (otherRun !== null) sides.push(await sideOf(client, runs, otherRun, tag, view.otherStep ?? first.step));
  const [curves, encoding] = await rest;
  return { sides, curves, encoding };
}

/**
 * Put heads and a metric that the snapshot has in the place of those it has not.
 * @param {View} view
 * @param {Snapshot} snapshot
 */
export function settleHeads(view, snapshot) {
  const there = view.heads.filter((name) => headNumber(snapshot, name) >= 0);
  view.heads = there.length > 0 ? there : ["1.1"];
  if (!snapshot.metrics.has(view.metric)) view.metric = [...snapshot.metrics.keys()][0] ?? "";
}

/**
 * @param {Client} client
 * @param {Runs} runs
 * @param {string} run
 * @param {string} tag of the text; if the run has none such, its first is taken
 * @param {number | null} wanted the nearest step there is, or the latest
 * @returns {Promise<Side>}
 */
async function sideOf(client, runs, run, tag, wanted) {
  const there = tag in runs[run] ? tag : textsOf(runs[run])[0];
  const steps = await client.steps(run, there, runs[run][there].time);
  const step = steps[nearest(steps, wanted)];
  return { run, tag: there, steps, step, snapshot: await client.snapshot(run, there, step) };
}
