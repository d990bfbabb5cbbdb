"""Costs of TensorBoard: its share of a run, a snapshot for the Attention tab, and the tab in a browser.

    python -m bench.board [--no-browser] [--quick] [--device cpu|cuda] [--output bench/results]

The browser's part needs chromium and chromedriver and is left out, by name, without them.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from runpy import run_path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

import torch
from selenium.webdriver import Chrome

from attention_tab.format import probe_tag
from bench.browser import NoBrowserError, address_of_view, chromium, open_tab, tensorboard, wait_until
from bench.commands import CHARACTERS, random_text, run_command, summary_of
from bench.harness import ROOT, Options, Report, Row, Spread, synchronize
from bench.training_step import Shape, new_decoder, random_ids
from board.board import Board
from board.config import BoardConfig
from training.config import Device, Precision, RuntimeConfig
from training.device import choose_runtime

TEXT_LENGTH = 2**20
METHODS = ("training", "attention", "pictures", "validation")
DETAILS = "attention with statistics and scores"
SHAPES = [Shape("", 4, 4, 128, 64, 1), Shape("", 6, 6, 384, 64, 1), Shape("", 6, 6, 384, 256, 1)]
SNAPSHOTS = 30
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


def run_timed_board(device: torch.device, results: Path, settings: Sequence[str]) -> None:
    """In a process of its own: train with each of the board's writings timed, and write the seconds of each."""
    seconds = dict.fromkeys((*METHODS, DETAILS), 0.0)

    def timed(name: str, write: Callable[..., None]) -> Callable[..., None]:
        @wraps(write)
        def method(board: Board, *given: Any) -> None:
            synchronize(device)
            start = time.perf_counter()
            write(board, *given)
            board.finish_background()
            synchronize(device)
            seconds[DETAILS if given[2:] == (True,) else name] += time.perf_counter() - start  # attention's `details`

        return method

    for name in METHODS:
        setattr(Board, name, timed(name, getattr(Board, name)))
    sys.argv = ["train.py", *settings]
    try:
        run_path(str(ROOT / "train.py"), run_name="__main__")
    finally:
        results.write_text(json.dumps(seconds), encoding="utf-8")


def share_of_run(device: torch.device, quick: bool) -> tuple[dict[str, float], list[Row]]:
    """Train the default preset once, on random characters: the board's seconds, and a row for each kind of writing."""
    with TemporaryDirectory() as folder:
        run, results = Path(folder, "run"), Path(folder, "seconds.json")
        text = random_text(Path(folder, "text.txt"), TEXT_LENGTH)
        settings = [f"data.path={text}", f"hydra.run.dir={run}", f"runtime.device={device.type}"]
        settings += ["training.steps=20", "training.evaluate_every=20", "model.width=32"] if quick else []
        run_command("-m", "bench.board", "--worker", device.type, str(results), *settings)
        seconds: dict[str, float] = json.loads(results.read_text(encoding="utf-8"))
        summary = summary_of(run)
    # The loop's clock of training stands still for attention and validation, but not for the curves between steps.
    training = summary["characters"] / summary["characters_per_second"] - seconds["training"]
    rows: list[Row] = [
        {"written": name, "seconds": f"{spent:.3f}", "share of training": f"{spent / training:.2%}"}
        for name, spent in [*seconds.items(), ("all", sum(seconds.values())), ("training steps alone", training)]
    ]
    return {**seconds, "training steps": training}, rows


def snapshot_row(shape: Shape, precision: Precision, device: torch.device, repeats: int) -> Row:
    """Milliseconds and bytes of snapshots, with the heads' curves."""
    runtime = choose_runtime(RuntimeConfig(device=Device(device.type), precision=precision))
    decoder, probe = new_decoder(shape, device), random_ids(shape.context).tolist()
    waits, whole = [], []
    with TemporaryDirectory() as folder:
        with closing(Board(Path(folder), BoardConfig(), CHARACTERS, {"validation": probe}, [0])) as board:
            for step in range(repeats + 2):  # the first two warm up
                synchronize(device)
                start = time.perf_counter()
                with runtime.autocast():
                    board.attention(step, decoder)
                waits.append(1000 * (time.perf_counter() - start))
                board.flush()
                whole.append(1000 * (time.perf_counter() - start))
        size = sum(file.stat().st_size for file in Path(folder).iterdir()) // (repeats + 2)
    name = f"{shape.layers} x {shape.heads} heads, width {shape.width}, {shape.context} characters"
    times = {"training waits": Spread.of(waits[2:]), "whole": Spread.of(whole[2:])}
    return {"snapshot of": name, "precision": str(runtime.precision), **times, "kB": f"{size / 1000:.0f}"}


@dataclass(frozen=True)
class Extent:
    """Counts of runs, snapshots and repetitions."""

    runs: int = 50
    snapshots: int = 200  # of each run, small but for the one that is looked at
    large: int = 60  # snapshots of that one
    openings: int = 5
    hovers: int = 200


def measure_tab(extent: Extent) -> dict[str, dict[str, list[float]]]:
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
            board.attention(step, decoder, details=step == count - 1)


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


def main(argv: Sequence[str] | None = None) -> None:
    parser = Options("board", __doc__)
    parser.add_argument("--worker", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.add_argument("--no-browser", action="store_true", help="without the tab in a browser")
    options = parser.read(argv)
    if options.worker:
        return run_timed_board(torch.device(options.worker[0]), Path(options.worker[1]), options.worker[2:])
    device, quick = torch.device(options.device), options.quick
    report = Report(f"board_{device.type}", "Costs of TensorBoard", device, quick)
    report.data["run"], rows = share_of_run(device, quick)
    report.add("A run", rows)
    report.write(options.output)
    snapshots = [
        snapshot_row(shape, precision, device, 3 if quick else SNAPSHOTS)
        for shape in SHAPES[: 1 if quick else None]
        for precision in (Precision.auto, Precision.fp32)
    ]
    report.add("A snapshot in training, milliseconds", snapshots)
    report.write(options.output)
    extent = Extent(runs=3, snapshots=5, large=6, openings=1, hovers=5) if quick else Extent()
    try:
        if options.no_browser:
            raise NoBrowserError("--no-browser")
        report.data["browser"] = found = measure_tab(extent)
    except NoBrowserError as missing:
        report.data["left_out"]["browser"] = str(missing)
    else:
        rows = [
            {"loader": loader} | {name: Spread.of(each) for name, each in times.items()}
            for loader, times in found.items()
        ]
        report.add("In the browser, milliseconds", rows)
    report.data["snapshots"] = snapshots
    report.save(options.output)
    return None


if __name__ == "__main__":
    main()
