// @ts-check
// The panel that explains a pair of characters: the score of query and key as a sum of parts.

import { sameText } from "./attention.js";
import { sideLabel } from "./choices.js";
import { h, messageOf } from "./dom.js";
import { bar, inContext } from "./reading.js";
import { explanation } from "./why.js";

/** @typedef {import("./gather.js").Side} Side */
/** @typedef {import("./why.js").Part} Part */
/** @typedef {Awaited<ReturnType<typeof import("./gather.js").scoresOf>>} Factors */
/** `pair`: in any order. @typedef {{sides: Side[], heads: string[], pair: number[] | null, factorsOf: (side: Side) => Promise<Factors>}} Question */

const LISTED = 8; // parts; the others are summed up

/** A section that is filled while it is open; pinning a pair opens it. */
export function createExplanation() {
  const body = h("div", { className: "beside" });
  const element = h("details", { className: "why" }, h("summary", {}, "Why these two characters"), body);
  /** @type {Question | null} */
  let asked = null;
  let last = "";

  async function answer() {
    const question = asked;
    if (!element.open || !question) return;
    const children = await answersTo(question).catch((error) => [h("p", {}, messageOf(error))]);
    if (question === asked) body.replaceChildren(...children);
  }
  element.addEventListener("toggle", answer);

  return {
    element,
    /**
     * @param {Question} question
     * @param {boolean} pinned
     */
    show(question, pinned) {
      asked = question;
      const pair = pinned ? String(question.pair) : "";
      if (pinned && pair !== last) element.open = true;
      last = pair;
      answer();
    },
  };
}

/** @param {Question} question */
async function answersTo({ sides, heads, pair, factorsOf }) {
  const ask = !pair
    ? "Click a cell of a map; or a character, and another with Shift."
    : `Choose one head: a score is of one head, and the maps show the mean of ${heads.length}.`;
  if (!pair || heads.length > 1) return [h("p", { className: "hint" }, ask)];
  const alike = sides.filter(({ snapshot }) => sameText(snapshot, sides[0].snapshot));
  const factors = await Promise.all(alike.map(factorsOf));
  return alike.map((side, i) => {
    const title = alike.length > 1 ? [h("h3", {}, `${["first", "second"][i]}, ${sideLabel(sides, i)}`)] : [];
    return h("div", {}, ...title, ...explained(side, factors[i], heads[0], Math.max(...pair), Math.min(...pair)));
  });
}

/** @param {Side} side @param {Factors} factors @param {string} head @param {number} query @param {number} key */
function explained({ snapshot, step }, factors, head, query, key) {
  const even = `Scored by the mean: every key counts alike, 1/${query + 1} = ${(1 / (query + 1)).toFixed(4)}.`;
  if (factors?.scores.scoring === "mean") return [h("p", {}, even)];
  const found = factors && explanation(factors.scores, head, query, key);
  const none = `No scores of head ${head} in this text by step ${step}: evaluations log them, and a saved page has the last.`;
  if (!found) return [h("p", {}, none)];
  const { score, above, weight, rotated, parts, kinds } = found;
  const logged = factors.step === step ? "" : ` at step ${factors.step}, the last evaluation by step ${step}`;
  const compared = `${signed(Math.abs(above))} ${above < 0 ? "below" : "above"} the mean of the query's keys (${query + 1})`;
  const said = [
    ...["Query ", inContext(snapshot, query), ` at ${query}, key `, inContext(snapshot, key), ` at ${key}, `],
    ...[`head ${head}${logged}: score `, h("b", {}, signed(score)), `, ${compared}. `],
    `Weight: exp(${signed(score)}) / Σ exp(scores of these keys) = ${weight.toFixed(4)}. `,
    "A score is a sum of parts. What all keys share changes no weight, so bars are parts less their means over these keys.",
  ];
  const tables = [...(kinds ? [byKind(kinds)] : []), largest(parts, rotated)];
  return [h("p", {}, ...said), h("div", { className: "beside" }, ...tables)];
}

/** @param {number} number */
const signed = (number, plus = "") => `${number < 0 ? "" : plus}${number.toFixed(2)}`.replace("-", "−");

/** Content and position of the query down, of the key across. @param {Part[]} kinds */
function byKind(kinds) {
  const titles = ["key's content", "key's position"].map((name) => h("th", { colSpan: 3 }, name));
  const rows = ["query's content", "query's position"].map((name, i) =>
    row(name, kinds.slice(2 * i, 2 * i + 2), kinds),
  );
  return h("table", { className: "kinds" }, h("tr", {}, h("th"), ...titles), ...rows);
}

/** @param {Part[]} parts @param {boolean} rotated */
function largest(parts, rotated) {
  const sorted = parts.toSorted((a, b) => Math.abs(b.above) - Math.abs(a.above));
  const others = sorted.splice(LISTED);
  const sum = (/** @type {"value" | "above"} */ of) => others.reduce((total, part) => total + part[of], 0);
  const listed = sorted.map((part) => ({ ...part, name: rotated ? `${part.name} characters` : `column ${part.name}` }));
  if (others.length > 0) listed.push({ name: `the other ${others.length}`, value: sum("value"), above: sum("above") });
  const title = h("th", { colSpan: 4 }, rotated ? "by wavelength of the rotation" : "by column of query and key");
  return h(
    "table",
    { className: "columns" },
    h("tr", {}, title),
    ...listed.map((part) => row(part.name, [part], listed)),
  );
}

/** @param {string} name @param {Part[]} parts in it @param {Part[]} all of the table */
function row(name, parts, all) {
  const longest = Math.max(...all.map(({ above }) => Math.abs(above)), 1e-9);
  const cells = parts.flatMap(({ value, above }) => [
    h("td", {}, bar(above / longest, 60)),
    h("td", {}, signed(above, "+")),
    h("td", { className: "hint" }, `part ${signed(value)}`),
  ]);
  return h("tr", {}, h("th", { scope: "row" }, name), ...cells);
}
