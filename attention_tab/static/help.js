// @ts-check
// What the numbers mean, and what the keys do.

import { h } from "./dom.js";

/** What a head does: its name for the eye, its definition, its source. @type {Record<string, [string, string, string]>} */
export const METRICS = {
  entropy: [
    "entropy (nats)",
    "How widely the head looks: −Σ a ln a over the weights a of a query. 0: at one character alone; ln n: at n alike.",
    "Ghader and Monz 2017",
  ],
  distance: [
    "distance (characters)",
    "How far back the head looks: Σ a·(i − j) over the keys j of a query i.",
    "Vig and Belinkov 2019",
  ],
  previous: ["previous character", "The weight of the character just before the query.", "Clark et al. 2019"],
  first: [
    "first character",
    "The weight of the first character of the text, where heads look that have nothing to say (a sink).",
    "Vig and Belinkov 2019; Xiao et al. 2023",
  ],
  induction: [
    "induction",
    "On a random string that is read twice: the weight of what followed the character when it was read first.",
    "after Olsson et al. 2022, prefix matching",
  ],
};

const KEYS = [
  ["← →", "in the text: the next character; on the slider: the next step"],
  ["← → ↑ ↓", "among the heads: the next head; with Shift, added to those whose mean is shown"],
  ["Enter, Space", "in the text: keep the character, or let it go; Escape lets go"],
  ["Ctrl, Shift or ⌘ with a click", "on a head: add it to those whose mean is shown, or take it away"],
];

export function createHelp() {
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const dialog = h(
    "dialog",
    { className: "help", "aria-label": "Help" },
    close,
    h("h2", {}, "Reading the maps"),
    h(
      "p",
      {},
      "In each map a row is a character that looks (the query), and the columns are the characters it looks at (the keys). ",
      "A row sums to one. The colour is the square root of the weight, so that small weights can be told from none. ",
      "What lies in the future is empty: no character may look ahead. ",
      "The roots of the weights are kept in steps of 1/255, so that a weight is off by 0.004 at most.",
    ),
    h("h2", {}, "What a head does"),
    h(
      "p",
      {},
      "Each is a mean over the queries of the text (entropy, previous and first: over all but the first query, which sees nothing but itself). ",
      "The curves are those of the first text, and also among TensorBoard's scalars; under each map is the value for the text that is shown. ",
      "Induction is always taken on one random string.",
    ),
    h(
      "dl",
      {},
      ...Object.values(METRICS).flatMap(([name, definition, source]) => [
        h("dt", {}, name),
        h("dd", {}, definition, h("small", {}, ` ${source}`)),
      ]),
    ),
    h("h2", {}, "The text"),
    h(
      "p",
      {},
      "The background is the weight; the bar below each character is its loss, −ln of the probability that the model gave it. ",
      "⏎ is a new line, · a space, → a tab; what else cannot be seen is named by its codepoint.",
    ),
    h("h2", {}, "Keys"),
    h("dl", {}, ...KEYS.flatMap(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
  );
  return dialog;
}

/** Where there is nothing to show yet. */
export function createEmpty() {
  return h(
    "section",
    { className: "empty" },
    h("h2", {}, "No attention has been logged here yet"),
    h("p", {}, "Start a run; its maps appear on this page while it trains, a few seconds after they are written:"),
    h("pre", {}, "python train.py"),
    h("p", {}, "More snapshots, and texts of your own:"),
    h("pre", {}, 'python train.py board.attention_every=10 board.probe="to be or not to be"'),
    h("p", {}, "Attention to what a trained model reads and writes:"),
    h("pre", {}, 'python sample.py prompt="to be" inspect=true'),
    h(
      "p",
      {},
      "TensorBoard must look at the folder that the runs are in: ",
      h("code", {}, "tensorboard --logdir runs"),
      ".",
    ),
  );
}
