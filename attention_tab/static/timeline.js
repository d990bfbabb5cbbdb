// @ts-check
// A slider over the steps that have snapshots.

import { h } from "./dom.js";

const PACE = 250; // milliseconds between snapshots, when they play

/**
 * @param {string} label
 * @param {(step: number | null, exactly: number) => Promise<void>} go null: follow the latest
 */
export function createTimeline(label, go) {
  /** @type {number[]} */
  let steps = [];
  let index = 0;
  let playing = false;
  let turn = 0; // of playing: a later one ends an earlier one
  const button = (/** @type {string} */ text, /** @type {string} */ title, /** @type {() => void} */ onclick) =>
    h("button", { type: "button", title, "aria-label": title, onclick }, text);
  const slider = h("input", { type: "range", min: "0", "aria-label": label, oninput: () => to(Number(slider.value)) });
  const play = button("▶", "Play", () => (playing ? stop() : start()));
  const output = h("output");
  const element = h(
    "div",
    { className: "row timeline" },
    h("span", {}, label),
    button("◀", "Previous step", () => to(index - 1)),
    play,
    button("▶|", "Next step", () => to(index + 1)),
    slider,
    output,
  );

  /** @param {number} wanted */
  async function to(wanted) {
    if (wanted < 0 || wanted >= steps.length) return;
    index = wanted;
    await go(wanted === steps.length - 1 ? null : steps[wanted], steps[wanted]);
  }

  async function start() {
    const mine = ++turn;
    playing = true;
    show();
    if (index === steps.length - 1) await to(0);
    while (mine === turn && index < steps.length - 1) {
      await new Promise((resolve) => setTimeout(resolve, PACE));
      if (mine === turn) await to(index + 1);
    }
    if (mine === turn) stop();
  }

  function stop() {
    turn++;
    playing = false;
    show();
  }

  function show() {
    play.textContent = playing ? "❚❚" : "▶";
    play.title = playing ? "Pause" : "Play";
    play.setAttribute("aria-label", play.title);
  }

  return {
    element,
    stop,
    /**
     * @param {number[]} of
     * @param {number} step
     * @param {boolean} follows the latest step
     * @param {boolean} moving already on to another step: the slider stays where it is
     */
    draw(of, step, follows, moving) {
      steps = of;
      slider.max = String(steps.length - 1);
      const shown = Math.max(0, steps.indexOf(step));
      if (!moving) index = shown;
      if (!moving) slider.value = String(shown);
      slider.setAttribute("aria-valuetext", `step ${step}`);
      output.textContent = `${step.toLocaleString("en")} (${shown + 1} of ${steps.length})${follows ? ", latest" : ""}`;
    },
  };
}
