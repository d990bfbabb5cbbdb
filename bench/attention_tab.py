"""What the Attention tab costs: a snapshot in training, and the page in a browser.

    python -m bench.attention_tab [--quick] [--device cpu|cuda] [--output bench/results]

The browser's part needs chromium and chromedriver and is left out, by name, where they are not.
"""

import argparse
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from bench.browser import NoBrowserError
from bench.machine import finish
from bench.ours import VOCABULARY_SIZE
from bench.peers import commit
from bench.report import Row, keep, table, where
from bench.stopwatch import ROOT
from bench.tab_in_browser import CHARACTERS, Extent, InBrowser, Spread, logged, measure
from board.board import Board
from board.config import BoardConfig
from model.config import DecoderConfig, PositionKind
from model.decoder import Decoder
from training.allocator import keep_freed_memory
from training.config import Device, Precision, RuntimeConfig
from training.device import choose_runtime, machine

IN_BROWSER = """\
6 layers of 6 heads and 256 characters, headless Chromium, the tab's frame alone. All in milliseconds, median (highest).
Opening: from the request to all heads on the page, {openings} times. Listing: {runs} runs, all but one of {snapshots}
snapshots, and the steps of one. Serving: the answer that is one snapshot. New step, step seen before: from the slider
to the page laid out, the second from what the page holds. Hovering: from the pointer to the page laid out, {hovers}
times; painting is not in it. Heap: what JavaScript holds after {settled} and after {changes} changes of step."""
QUICK = Extent(runs=3, snapshots=5, large=6, openings=1, hovers=5, settled=2, changes=4)


@dataclass(frozen=True)
class Shape:
    """Of what is captured. The text is as long as the context."""

    layers: int
    heads: int
    width: int
    context: int

    def __str__(self) -> str:
        return f"{self.layers} x {self.heads} heads, width {self.width}, {self.context} characters"


SHAPES = [Shape(4, 4, 128, 64), Shape(6, 6, 384, 64), Shape(6, 6, 384, 256)]


@dataclass(frozen=True)
class Cost:
    """Of one snapshot, in milliseconds."""

    shape: str
    precision: str
    waits: Spread  # how long training waits: the forward pass, and the copy to the host
    whole: Spread  # until the event is in the file, checksums and all
    bytes: int  # in the event file, with the heads' curves


def cost(shape: Shape, precision: Precision, device: torch.device, repeats: int) -> Cost:
    """Of snapshots of a decoder with random weights, whose even attention compresses worst."""
    runtime = choose_runtime(RuntimeConfig(device=Device(device.type), precision=precision))
    config = DecoderConfig(**asdict(shape), position=PositionKind.rotary)
    decoder = Decoder(config, VOCABULARY_SIZE, torch.Generator().manual_seed(0)).to(device)
    probe = torch.randint(VOCABULARY_SIZE, (shape.context,), generator=torch.Generator().manual_seed(0)).tolist()
    waits, whole = [], []
    with TemporaryDirectory() as folder:
        with closing(Board(Path(folder), BoardConfig(), CHARACTERS, {"validation": probe}, [0])) as board:
            for step in range(repeats + 2):  # the first two warm up
                finish(device)
                start = time.perf_counter()
                with runtime.autocast():
                    board.attention(step, decoder)
                waited = time.perf_counter()
                board.finish_background()
                board.writer.flush()
                waits.append(1000 * (waited - start))
                whole.append(1000 * (time.perf_counter() - start))
        size = sum(file.stat().st_size for file in Path(folder).iterdir()) // (repeats + 2)
    return Cost(str(shape), str(runtime.precision), Spread.of(waits[2:]), Spread.of(whole[2:]), size)


@dataclass(frozen=True)
class Findings:
    """What attention_tab_<device>.json holds."""

    machine: dict[str, str | int]
    device: str
    commit: str
    repeats: int
    costs: list[Cost]
    extent: Extent
    browser: list[InBrowser]
    left_out: str  # why there is no browser's part, if there is none
    trial: bool


def told(spread: Spread) -> str:
    return f"{spread.median:.1f} ({spread.highest:.1f})"


def markdown(found: Findings) -> str:
    """What attention_tab_<device>.md holds."""
    trial = "**A trial of the command: the figures mean nothing.**\n\n" if found.trial else ""
    costs: list[Row] = [
        {
            "snapshot of": each.shape,
            "precision": each.precision,
            "training waits": told(each.waits),
            "whole": told(each.whole),
            "kB": f"{each.bytes / 1000:.0f}",
        }
        for each in found.costs
    ]
    extent = found.extent
    lines: list[Row] = [
        {
            "TensorBoard's loader": each.loader,
            "opening": told(each.opened),
            "listing": f"{each.listed:.0f}",
            "serving": told(each.served),
            "new step": told(each.changed),
            "step seen before": told(each.changed_again),
            "hovering": told(each.hovered),
            "heap, MB": f"{each.heap_before / 1e6:.1f} to {each.heap_after / 1e6:.1f}",
        }
        for each in found.browser
    ]
    browser = f"{IN_BROWSER.format(**asdict(extent))}\n\n{table(lines)}" if lines else f"Left out: {found.left_out}."
    return f"""# What the Attention tab costs

{trial}{where(found.machine, found.device)}.
Charscope: commit {found.commit}.

## A snapshot in training

Milliseconds, median (highest) of {found.repeats}. Training waits for the forward pass of the text and the repeated
string, and for the copy of its results; the rest (encoding, checksums, writing) happens beside it. The whole is until
the event is in the file, as if nothing went on beside. Random weights.

{table(costs)}

## In the browser

{browser}
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.attention_tab", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="to try the command itself: few and small measurements")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--output", type=Path, default=Path("bench/results"), metavar="FOLDER")
    options = parser.parse_args(argv)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: expected cpu, got cuda, which is not available")
    keep_freed_memory()
    device, revision = torch.device(options.device), commit(ROOT)
    shapes, repeats, extent = (SHAPES[:1], 3, QUICK) if options.quick else (SHAPES, 30, Extent())
    costs = [
        cost(shape, precision, device, repeats) for shape in shapes for precision in (Precision.auto, Precision.fp32)
    ]
    browser: list[InBrowser] = []
    left_out = ""
    try:
        with logged(extent) as logdir:
            browser = [measure(logdir, loader, extent) for loader in ("fast", "Python's")]
    except NoBrowserError as missing:
        left_out = str(missing)
    found = Findings(machine(device), device.type, revision, repeats, costs, extent, browser, left_out, options.quick)
    keep(options.output, f"attention_tab_{device.type}", asdict(found), markdown(found))


if __name__ == "__main__":
    main()
