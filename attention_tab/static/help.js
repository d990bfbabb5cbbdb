// @ts-check
// The help page: what the numbers mean, and what the keys do.

import { h } from "./dom.js";

/** Head metrics: title, definition, source. @type {Map<string, [string, string, string]>} */
export const METRICS = new Map(
  Object.entries({
    entropy: [
      "entropy (nats)",
      "−Σ a ln a over the weights a of a query: how widely the head attends. 0: to one character; ln n: to n equally.",
      "Ghader and Monz 2017",
    ],
    distance: [
      "distance (characters)",
      "Σ a·(i − j) over the keys j of a query i: how far back the head attends.",
      "Vig and Belinkov 2019",
    ],
    previous: ["previous character", "Weight of the character just before the query.", "Clark et al. 2019"],
    first: [
      "first character",
      "Weight of the first character of the text, an attention sink.",
      "Vig and Belinkov 2019; Xiao et al. 2023",
    ],
    duplicate: [
      "duplicate character",
      "Weight of earlier occurrences of the query's own character, where there are any.",
      "Wang et al. 2022, duplicate token heads",
    ],
    induction: [
      "induction",
      "Where the query and the two characters before it occurred before: weight of what followed them there. Runs of one character do not count.",
      "Olsson et al. 2022, prefix matching",
    ],
    induction_random: [
      "induction (random string)",
      "The same, of one character, on a random string read twice, which is like no text that the model has seen.",
      "Olsson et al. 2022",
    ],
    ablation: [
      "ablation (nats/char)",
      "Rise of the mean loss when the head's output is set to zero. Below zero, in blue, the model is better without it.",
      "Michel et al. 2019",
    ],
  }),
);

const KEYS = [
  ["← →", "in the text: the next character; on the slider: the next step"],
  ["← → ↑ ↓", "among the heads: the next head; with Shift, add it to the mean"],
  ["Enter, Space", "in the text: pin the character, or unpin it; Escape unpins"],
  ["Ctrl, Shift or ⌘ with a click", "on a head: add it to the mean, or remove it"],
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
      "In each map a row is a query, the character that attends, and the columns are keys, the characters it attends to. ",
      "A row sums to one. The colour is the square root of the weight, so that small weights differ visibly from zero. ",
      "Above the diagonal a map is empty: causal masking hides the future. ",
      "Square roots are stored in steps of 1/255, so that a weight is off by 0.004 at most, here and in the .npz file, ",
      "where rows sum to one only nearly. Positions are counted from 0, as there.",
    ),
    h("h2", {}, "Head metrics"),
    h(
      "p",
      {},
      "Each is a mean over the queries of the text (entropy, previous and first: all but the first query, which has one key). ",
      "The curves are of the first text, and also among TensorBoard's scalars; below each map is the value for the text shown. ",
      "Induction is always measured on the same random string.",
    ),
    h(
      "dl",
      {},
      ...[...METRICS.values()].flatMap(([name, definition, source]) => [
        h("dt", {}, name),
        h("dd", {}, definition, h("small", {}, ` ${source}`)),
      ]),
    ),
    h("h2", {}, "The text"),
    h(
      "p",
      {},
      "The background is the weight; the bar below each character is its loss, −ln of the probability that the model gave it. ",
      "⏎ is a new line, · a space, → a tab; other invisible characters are shown as their code points, ",
      "and a byte of a model of bytes, unless it is ASCII, as \\xd0.",
    ),
    h("h2", {}, "Keys"),
    h("dl", {}, ...KEYS.flatMap(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
  );
  return dialog;
}

/** The page of a folder without snapshots. */
export function createEmpty() {
  return h(
    "section",
    { className: "empty" },
    h("h2", {}, "No attention has been logged here yet"),
    h("p", {}, "Start a run; its attention maps appear here during training, seconds after they are written:"),
    h("pre", {}, "python train.py"),
    h("p", {}, "More snapshots, and texts of your own:"),
    h("pre", {}, 'python train.py board.attention_every=10 board.probe="to be or not to be"'),
    h("p", {}, "Attention of a trained model to its prompt and samples:"),
    h("pre", {}, 'python sample.py prompt="to be" inspect=true'),
    h(
      "p",
      {},
      "TensorBoard must read the folder that contains the runs: ",
      h("code", {}, "tensorboard --logdir runs"),
      ".",
    ),
  );
}
