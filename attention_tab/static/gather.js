// @ts-check
// From what there is to what is to be seen: which run, text and step a view means, and what must be fetched for it.

import { nearest } from "./attention.js";

/** @typedef {import("./client.js").Client} Client */
/** @typedef {import("./client.js").Moment} Moment */
/** @typedef {import("./client.js").Runs} Runs */
/** @typedef {import("./format.js").Snapshot} Snapshot */
/** @typedef {import("./view.js").View} View */
/** @typedef {{run: string, tag: string, moments: Moment[], step: number, snapshot: Snapshot}} Side */

/**
 * @typedef {object} Found
 * @property {Side[]} sides one, or two to be compared
 * @property {import("./client.js").Curves[]} curves of each
 * @property {{table: import("./format.js").Encoding, step: number | null} | null} encoding of the first, and of which step
 * it is where it changes
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
 * The view with runs and a text that there are in the place of those that there are not (yet, or any more).
 * @param {View} wanted
 * @param {Runs} runs at least one
 * @returns {View & {run: string, tag: string}}
 */
export function settled(wanted, runs) {
  const names = runNames(runs);
  const newest = names.reduce((a, b) => (latest(runs[b]) > latest(runs[a]) ? b : a));
  const run = wanted.run !== null && names.includes(wanted.run) ? wanted.run : newest;
  const otherRun = wanted.otherRun !== null && names.includes(wanted.otherRun) ? wanted.otherRun : null;
  const texts = textsOf(runs[run]);
  const tag = wanted.tag !== null && texts.includes(wanted.tag) ? wanted.tag : texts[0];
  return { ...wanted, run, otherRun, tag };
}

/**
 * The view with heads, a metric and a place that the snapshots have in the place of those that they have not.
 * @template {View} Settled
 * @param {Settled} view
 * @param {Snapshot[]} snapshots
 * @returns {Settled}
 */
export function fitting(view, snapshots) {
  const [first] = snapshots;
  const heads = view.heads.filter((name) => snapshots.some(({ names }) => names.includes(name)));
  const metric = first.metrics.has(view.metric) ? view.metric : ([...first.metrics.keys()][0] ?? "");
  const place = view.place !== null && view.place < first.tokens.length ? view.place : null;
  return { ...view, heads: heads.length > 0 ? heads : [first.names[0]], metric, place };
}

/**
 * @param {Client} client
 * @param {Runs} runs
 * @param {View & {run: string, tag: string}} view that is settled
 * @returns {Promise<Found>}
 */
export async function gather(client, runs, { run, otherRun, tag, step, otherStep }) {
  const compared = otherRun === null ? [run] : [run, otherRun];
  const coming = Promise.all(compared.map((name) => client.curves(name, latest(runs[name]))));
  coming.catch(() => {}); // said below, where it is waited for
  const first = await sideOf(client, runs, run, tag, step);
  const sides = [first];
  if (otherRun !== null) sides.push(await sideOf(client, runs, otherRun, tag, otherStep ?? first.step));
  return { sides, curves: await coming, encoding: await encodingOf(client, runs, run, first.step) };
}

/**
 * @param {Client} client
 * @param {Runs} runs
 * @param {string} run
 * @param {number} step
 */
async function encodingOf(client, runs, run, step) {
  if (!(ENCODING in runs[run])) return null;
  const moments = await client.steps(run, ENCODING, runs[run][ENCODING].time);
  const moment = momentAt(moments, step);
  const table = await client.encoding(run, ENCODING, moment);
  return { table, step: moments.length > 1 ? moment.step : null };
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
  const moments = await client.steps(run, there, runs[run][there].time);
  const moment = momentAt(moments, wanted);
  const snapshot = await client.snapshot(run, there, moment);
  return { run, tag: there, moments, step: moment.step, snapshot };
}

/**
 * The nearest there is, or the latest.
 * @param {Moment[]} moments
 * @param {number | null} step
 */
const momentAt = (moments, step) => moments[nearest(stepsOf(moments), step)];

/** @param {Moment[]} moments */
export const stepsOf = (moments) => moments.map(({ step }) => step);
