"""How the Attention tab does in a real Chromium: opening, going from step to step, hovering, and what it holds."""

import json
import statistics
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import torch
from selenium.webdriver import Chrome

from attention_tab.format import Snapshot, probe_tag
from bench.browser import address_of_view, chromium, open_tab, tensorboard, wait_until
from bench.ours import VOCABULARY_SIZE
from board.snapshots import summary_of, summary_of_metrics, take
from board.writer import EventWriter
from model.config import DecoderConfig
from model.decoder import Decoder

CHARACTERS = "".join(chr(ord("0") + number) for number in range(VOCABULARY_SIZE))
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
const span = document.querySelector(`.text [data-position="${arguments[0]}"]`);
const start = performance.now();
span.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
document.body.offsetHeight;
return performance.now() - start;
"""


@dataclass(frozen=True)
class Spread:
    """Of times in milliseconds."""

    median: float
    highest: float

    @classmethod
    def of(cls, times: list[float]) -> "Spread":
        return cls(statistics.median(times), max(times))


@dataclass(frozen=True)
class InBrowser:
    """What was found with one loader. Times in milliseconds, for 6 layers of 6 heads and 256 characters."""

    loader: str
    opened: Spread  # from the request for the tab to all heads on the page
    listed: float  # the answers that list all runs, and the steps of one
    served: Spread  # the answer that is one snapshot
    changed: Spread  # from the slider to the page laid out, never seen before
    changed_again: Spread  # to a step that is held
    hovered: Spread  # from the pointer to the page laid out
    heap_before: int  # bytes that JavaScript holds after `settled` changes of step
    heap_after: int  # and after all `changes`


@dataclass(frozen=True)
class Extent:
    """How much of it is done."""

    runs: int = 50
    snapshots: int = 200  # of each run, small but for the one that is looked at
    large: int = 60  # snapshots of that one
    openings: int = 5
    hovers: int = 200
    settled: int = 100
    changes: int = 1000


def snapshot_of(layers: int, heads: int, T: int) -> Snapshot:
    """Of a decoder with random weights."""
    config = DecoderConfig(layers=layers, heads=heads, width=8 * heads, context=T)
    decoder = Decoder(config, VOCABULARY_SIZE, torch.Generator().manual_seed(0))
    ids = torch.randint(VOCABULARY_SIZE, (T,), generator=torch.Generator().manual_seed(0))
    return take(decoder, [ids], CHARACTERS)[0]


@contextmanager
def logged(extent: Extent) -> Iterator[Path]:
    """A folder of runs, the first with large snapshots."""
    small, large = snapshot_of(2, 2, 8), snapshot_of(6, 6, 256)
    with TemporaryDirectory() as folder:
        for run in range(extent.runs):
            snapshot, count = (large, extent.large) if run == 0 else (small, extent.snapshots)
            with closing(EventWriter(Path(folder, f"run_{run:02}"))) as writer:
                for step in range(count):
                    writer.add_summary(summary_of("validation", snapshot), step)
                    writer.add_summary(summary_of_metrics(snapshot), step)
        yield Path(folder)


def measure(logdir: Path, loader: str, extent: Extent) -> InBrowser:
    """With TensorBoard's `loader`: fast, or Python's."""
    flag = f"--load_fast={'true' if loader == 'fast' else 'false'}"
    with tensorboard(logdir, flag) as address, TemporaryDirectory() as downloads, chromium(Path(downloads)) as chrome:
        wait_until(lambda: _all_read(address, extent))
        chrome.set_script_timeout(60)
        chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": READY})
        opened = [_open(chrome, address) for _ in range(extent.openings)]
        listed = _seconds(address, "runs") + _seconds(address, "steps", tag=probe_tag("validation"), run="run_00")
        given = {"tag": probe_tag("validation"), "run": "run_00"}
        served = [_seconds(address, "snapshot", **given, step=step) for step in range(0, extent.large, 5)]
        steps = list(range(extent.large))
        changed = [_change(chrome, step) for step in steps]
        again = [_change(chrome, step) for step in (steps[-1], *steps[-10:])][1:]
        hovered = [chrome.execute_script(HOVER, (37 * i) % 256) for i in range(extent.hovers)]
        for change in range(extent.settled):
            _change(chrome, change % extent.large)
        before = _heap(chrome)
        for change in range(extent.settled, extent.changes):
            _change(chrome, change % extent.large)
        return InBrowser(
            loader=loader,
            opened=Spread.of(opened),
            listed=listed,
            served=Spread.of(served),
            changed=Spread.of(changed),
            changed_again=Spread.of(again),
            hovered=Spread.of(hovered),
            heap_before=before,
            heap_after=_heap(chrome),
        )


def _all_read(address: str, extent: Extent) -> bool:
    runs = json.loads(_answer(address, "runs"))
    last = [tags[probe_tag("validation")]["step"] for tags in runs.values()]
    return sorted(last) == sorted([extent.large - 1] + [extent.snapshots - 1] * (extent.runs - 1))


def _open(chrome: Chrome, address: str) -> float:
    """Open the tab's frame anew."""
    open_tab(chrome, address_of_view(address, framed=False, run="run_00"), framed=False)
    wait_until(lambda: chrome.execute_script("return window.readyAt") is not None)
    return float(chrome.execute_script("return window.readyAt"))


def _change(chrome: Chrome, step: int) -> float:
    return float(chrome.execute_async_script(CHANGE, step))


def _heap(chrome: Chrome) -> int:
    chrome.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    return int(chrome.execute_script("return performance.memory.usedJSHeapSize"))


def _seconds(address: str, route: str, **query: Any) -> float:
    start = perf_counter()
    _answer(address, route, **query)
    return 1000 * (perf_counter() - start)


def _answer(address: str, route: str, **query: Any) -> bytes:
    with urlopen(f"{address}/data/plugin/attention/{route}?{urlencode(query)}") as response:
        return bytes(response.read())
