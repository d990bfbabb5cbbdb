// @ts-check
// The help page: what the numbers mean, and what the keys do.

import { h } from "./dom.js";
import { THRESHOLD } from "./forming.js";

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

/** The title of a metric. @param {string} metric */
export const titleOf = (metric) => METRICS.get(metric)?.[0] ?? metric;

const KEYS = [
  ["← →", "in the text: the next character; on the slider: the next step"],
  ["← → ↑ ↓", "among the heads: the next head; with Shift, add it to the mean"],
  [
    "Enter, Space",
    "in the text: pin the character, or unpin it; with Shift, pin it beside the pinned one; Escape unpins both",
  ],
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
      "Each is a mean over the queries of the text that have such a key (entropy: all but the first query, which has one key). ",
      "The curves are of the first text (of ablation: of the sample), and also among TensorBoard's scalars. ",
      "“Measured on” chooses whether the numbers that colour and sort the heads are of the text shown, or of a fixed sample of ",
      "the validation split, as of the last evaluation. Chance is the metric if every query attended evenly to all that it sees.",
    ),
    h(
      "dl",
      {},
      ...[...METRICS.values()].flatMap(([name, definition, source]) => [
        h("dt", {}, name),
        h("dd", {}, definition, h("small", {}, ` ${source}`)),
      ]),
    ),
    h("h2", {}, "Whether a head matters"),
    h(
      "p",
      {},
      "“Weights × value norm” multiplies each weight by the norm of what the key's value adds to the stream, |v W_O| (of a ",
      "single head |v|): a sink fades where it carries nothing (Kobayashi et al. 2020). The last colour is the largest product ",
      "of all heads of the steps shown; the legend says how large that is, in units of the stream.",
    ),
    h(
      "p",
      {},
      "“Switched off” is the head's ablation on the text shown, and on the sample. It is measured at evaluations, one head at a ",
      "time: the last one up to this step is shown.",
    ),
    h("h2", {}, "Over training, and all heads"),
    h(
      "p",
      {},
      `Marks between the losses and the curves are where a head's score for the previous character or for induction first passes ${THRESHOLD} `,
      "from below; a click chooses those heads and their step. ",
      "The scatter plot has the metric of “Heads by” across and another upwards; dotted lines are chance, attention that is even.",
    ),
    h("h2", {}, "Where the head looks most decidedly"),
    h(
      "p",
      {},
      "Queries of the validation sample whose attention is farthest from even, by its Kullback–Leibler divergence, ln n − entropy in nats for n keys. ",
      "The framed character is the query, the dotted one the key with the largest weight, and the map is of that whole sequence.",
    ),
    h("h2", {}, "The text"),
    h(
      "p",
      {},
      "The background is the weight; the bar below each character is its loss, −ln of the probability that the model gave it. ",
      "⏎ is a new line, · a space, → a tab; other invisible characters are shown as their code points, ",
      "and a byte of a model of bytes, unless it is ASCII, as \\xd0.",
    ),
    h("h2", {}, "Expected after each layer"),
    h(
      "p",
      {},
      "The logit lens: the output layer reads the stream after each layer, so that a row shows what would be expected next ",
      "if the decoder ended there, the first from the embedding alone and the last the decoder's own output (nostalgebraist 2020). ",
      "Framed is the character that came.",
    ),
    h("h2", {}, "Why these two characters"),
    h(
      "p",
      {},
      "A click on a cell of a map pins its query and key, and the section below splits their score in one head into parts: ",
      "by content and position where positions are added to the embedding, by wavelength where queries and keys are rotated, else by column. ",
      "A part that is the same for every key changes no weight, so that each is shown less its mean over the query's keys.",
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
