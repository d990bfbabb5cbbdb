"""The Attention tab in a real Chromium: opening, going from step to step, and hovering."""

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import torch
from selenium.webdriver import Chrome

from attention_tab.format import probe_tag
from bench.browser import address_of_view, chromium, open_tab, tensorboard, wait_until
from bench.commands import CHARACTERS
from bench.training_step import Shape, new_decoder, random_ids
from board.board import Board
from board.config import BoardConfig

TAG, LARGE_RUN = probe_tag("validation"), "run_00"
READY = """
window.readyAt = null;
const note = () => { if (document.body?.dataset.state === "ready") window.readyAt ??= performance.now(); };
new MutationObserver(note).observe(document, { subtree: true, attributeFilter: ["data-state"] });
"""
# Both wait for what the change has led to, the second until it has been laid out.
CHANGE = """
const [step, done] = arguments;
const slider = document.querySelector("input[aria-label='Step']");
const start = performance.now();
slider.value = step;
slider.dispatchEvent(new Event("input"));
const look = () => {
  if (document.body.dataset.state !== "ready") return setTimeout(look, 0);
  document.body.offsetHeight;
  done(performance.now() - start);
};
setTimeout(look, 0);
"""
HOVER = """
const span = document.querySelectorAll(".text [data-position]")[arguments[0]];
const start = performance.now();
span.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
document.body.offsetHeight;
return performance.now() - start;
"""


@dataclass(frozen=True)
class Extent:
    """Numbers of repetitions."""

    runs: int = 50
    snapshots: int = 200  # of each run, small but for the one that is looked at
    large: int = 60  # snapshots of that one
    openings: int = 5
    hovers: int = 200


def measure(extent: Extent) -> dict[str, dict[str, list[float]]]:
    """Milliseconds by what took them, for either of TensorBoard's loaders. Raises NoBrowserError without Chromium."""
    with TemporaryDirectory() as folder:
        for run in range(extent.runs):
            size, count = ((6, 256), extent.large) if run == 0 else ((2, 8), extent.snapshots)
            write_run(Path(folder, f"run_{run:02}"), *size, count)
        loaders = {"fast": "--load_fast=true", "Python's": "--load_fast=false"}
        return {name: measure_loader(Path(folder), flag, extent) for name, flag in loaders.items()}


def write_run(folder: Path, heads: int, T: int, count: int) -> None:
    """Snapshots of a decoder with random weights, as many layers as heads."""
    decoder = new_decoder(Shape("", heads, heads, 8 * heads, T, 1), torch.device("cpu"))
    with closing(Board(folder, BoardConfig(), CHARACTERS, {"validation": random_ids(T).tolist()}, [0])) as board:
        for step in range(count):
            board.attention(step, decoder)


def measure_loader(logdir: Path, flag: str, extent: Extent) -> dict[str, list[float]]:
    with tensorboard(logdir, flag) as address, TemporaryDirectory() as downloads, chromium(Path(downloads)) as chrome:
        wait_until(lambda: all_read(address, extent))
        chrome.set_script_timeout(60)
        chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": READY})
        opened = [opening(chrome, address) for _ in range(extent.openings)]
        changed = [float(chrome.execute_async_script(CHANGE, step)) for step in range(extent.large)]
        hovered = [float(chrome.execute_script(HOVER, (37 * i) % 256)) for i in range(extent.hovers)]
    return {"opening": opened, "another step": changed, "hovering": hovered}


def all_read(address: str, extent: Extent) -> bool:
    """Whether TensorBoard has read all runs to their ends."""
    with urlopen(f"{address}/data/plugin/attention/runs") as response:
        last = [tags[TAG]["step"] for tags in json.loads(response.read()).values()]
    return sorted(last) == sorted([extent.large - 1] + [extent.snapshots - 1] * (extent.runs - 1))


def opening(chrome: Chrome, address: str) -> float:
    """Milliseconds until the tab's frame, opened anew, shows all heads."""
    open_tab(chrome, address_of_view(address, framed=False, run=LARGE_RUN), framed=False)
    wait_until(lambda: chrome.execute_script("return window.readyAt") is not None)
    return float(chrome.execute_script("return window.readyAt"))
