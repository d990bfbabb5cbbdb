// @ts-check
// Resolves a view to the run, text and step that exist, and fetches what they need.

import { nearest } from "./attention.js";
import { FIRST, TAG } from "./format.js";
import { FORMED } from "./forming.js";
import { ABLATION, placesOf } from "./measured.js";
import { paired } from "./view.js";

/** @typedef {import("./client.js").Client} Client */
/** @typedef {import("./client.js").Moment} Moment */
/** @typedef {import("./client.js").Runs} Runs */
/** @typedef {import("./format.js").Snapshot} Snapshot */
/** @typedef {import("./statistics.js").Statistics} Statistics */
/** @typedef {import("./view.js").View} View */
/** `metrics`: those of the run's heads; `measured`: its latest head statistics by that step. @typedef {{run: string, tag: string, moments: Moment[], step: number, snapshot: Snapshot, metrics: string[], measured: {statistics: Statistics, step: number} | null}} Side */

/**
 * @typedef {object} Found
 * @property {Side[]} sides one, or two to compare
 * @property {import("./client.js").Curves[]} curves of each side, of the view's metric
 * @property {import("./client.js").Losses[]} losses of each side
 * @property {[metric: string, curves: import("./client.js").Curves][]} forming the first side's, of other metrics
 * @property {{table: import("./format.js").Encoding, step: number | null} | null} encoding of the first side,
 * and its step if it changes during training
 */

const ENCODING = `${TAG}encoding`;
const STATISTICS = `${TAG}statistics`;
const SCORES = `${TAG}scores/`;

/** The tags of texts, that of the validation split first. @param {Runs[string]} tags */
export function textsOf(tags) {
  return Object.keys(tags)
    .filter((tag) => tag !== ENCODING && tag !== STATISTICS && !tag.startsWith(SCORES))
    .sort((a, b) => Number(b === FIRST) - Number(a === FIRST) || a.localeCompare(b, "en", { numeric: true }));
}

/** @param {string} tag */
export const textName = (tag) => tag.slice(TAG.length).replaceAll("_", " ");

/** The runs that have texts. @param {Runs} runs */
export function runNames(runs) {
  const names = Object.keys(runs).filter((run) => textsOf(runs[run]).length > 0);
  return names.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
}

/** @param {Runs[string]} tags */
const latest = (tags) => Math.max(...Object.values(tags).map(({ time }) => time));

/**
 * The view with its runs and text replaced where they do not exist (yet).
 * @param {View} wanted
 * @param {Runs} runs at least one
 * @returns {View & {run: string, tag: string}}
 */
export function resolved(wanted, runs) {
  const names = runNames(runs);
  const newest = names.reduce((a, b) => (latest(runs[b]) > latest(runs[a]) ? b : a));
  const run = wanted.run !== null && names.includes(wanted.run) ? wanted.run : newest;
  const otherRun = wanted.otherRun !== null && names.includes(wanted.otherRun) ? wanted.otherRun : null;
  const texts = textsOf(runs[run]);
  const tag = wanted.tag !== null && texts.includes(wanted.tag) ? wanted.tag : texts[0];
  return { ...wanted, run, otherRun, tag };
}

/**
 * The view with its heads, metric, positions and values replaced where the sides lack them.
 * @template {View} Settled
 * @param {Settled} view
 * @param {Side[]} sides
 * @returns {Settled}
 */
export function fitted(view, sides) {
  const [{ metrics, snapshot }] = sides;
  const heads = view.heads.filter((name) => sides.some(({ snapshot: { names } }) => names.includes(name)));
  const metric = metrics.includes(view.metric) ? view.metric : (metrics[0] ?? "");
  const within = (/** @type {number | null} */ at) => (at !== null && at < snapshot.tokens.length ? at : null);
  const [position, beside] = [within(view.position), within(view.beside)];
  const values = view.values && sides.every((side) => side.snapshot.valueNorms);
  const places = placesOf(sides[0], metric);
  const sample = places.includes(view.sample) ? view.sample : (places[0] ?? view.sample);
  const found = heads.length > 0 ? heads : [snapshot.names[0]];
  return paired({ ...view, heads: found, metric, position, beside, values, sample });
}

/**
 * @param {Client} client
 * @param {Runs} runs
 * @param {View & {run: string, tag: string}} view resolved
 * @returns {Promise<Found>}
 */
export async function gather(client, runs, view) {
  const { run, otherRun, tag, step, otherStep } = view;
  const first = await sideOf(client, runs, run, tag, step);
  const sides = [first];
  if (otherRun !== null) sides.push(await sideOf(client, runs, otherRun, tag, otherStep ?? first.step));
  const { metric } = fitted(view, sides);
  const curvesOf = (/** @type {string} */ of, /** @type {string} */ name) => client.curves(of, name, latest(runs[of]));
  const [encoding, formed, losses, curves] = await Promise.all([
    encodingOf(client, runs, run, first.step),
    Promise.all(FORMED.map((name) => curvesOf(run, name))),
    Promise.all(sides.map((side) => client.losses(side.run, latest(runs[side.run])))),
    Promise.all(sides.map((side) => curvesOf(side.run, metric))),
  ]);
  return { sides, curves, losses, forming: FORMED.map((name, i) => [name, formed[i]]), encoding };
}

/** @param {Client} client @param {Runs} runs @param {string} run @param {number} step */
async function encodingOf(client, runs, run, step) {
  const moments = await momentsOf(client, runs, run, ENCODING);
  if (moments.length === 0) return null;
  const moment = momentAt(moments, step);
  const table = await client.encoding(run, ENCODING, moment);
  return { table, step: moments.length > 1 ? moment.step : null };
}

/**
 * @param {Client} client
 * @param {Runs} runs
 * @param {string} run
 * @param {string} tag of the text; the run's first if it has none such
 * @param {number | null} wanted null: the latest
 * @returns {Promise<Side>}
 */
async function sideOf(client, runs, run, tag, wanted) {
  const there = Object.hasOwn(runs[run], tag) ? tag : textsOf(runs[run])[0];
  const moments = await momentsOf(client, runs, run, there);
  const moment = momentAt(moments, wanted);
  const [snapshot, measured] = await Promise.all([
    client.snapshot(run, there, moment),
    measuredBy(client, runs, run, moment.step),
  ]);
  const metrics = [...snapshot.metrics.keys(), ...(Object.hasOwn(runs[run], STATISTICS) ? [ABLATION] : [])];
  return { run, tag: there, moments, step: moment.step, snapshot, metrics, measured };
}

/** @param {Client} client @param {Runs} runs @param {string} run @param {number} step */
async function measuredBy(client, runs, run, step) {
  const moment = latestBy(await momentsOf(client, runs, run, STATISTICS), step);
  return moment && { statistics: await client.statistics(run, STATISTICS, moment), step: moment.step };
}

/**
 * The latest scores of a side's text by its step.
 * @param {Client} client
 * @param {Runs} runs
 * @param {Side} side
 */
export async function scoresOf(client, runs, { run, tag, step }) {
  const scores = tag.replace(TAG, SCORES);
  const moment = latestBy(await momentsOf(client, runs, run, scores), step);
  return moment && { scores: await client.scores(run, scores, moment), step: moment.step };
}

/**
 * None if the run lacks the tag.
 * @param {Client} client
 * @param {Runs} runs
 * @param {string} run
 * @param {string} tag
 */
async function momentsOf(client, runs, run, tag) {
  return Object.hasOwn(runs[run], tag) ? client.steps(run, tag, runs[run][tag].time) : [];
}

/** @param {Moment[]} moments @param {number} step */
const latestBy = (moments, step) => moments.findLast((moment) => moment.step <= step) ?? null;

/** The nearest moment to `step`, or the latest. @param {Moment[]} moments @param {number | null} step */
const momentAt = (moments, step) => moments[nearest(stepsOf(moments), step)];

/** @param {Moment[]} moments */
export const stepsOf = (moments) => moments.map(({ step }) => step);
