"""Shared by all benchmarks: options, time and memory of a step, medians of rounds, a report as Markdown and JSON."""

import argparse
import importlib.metadata
import json
import statistics
import subprocess
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from files import replacing
from training.comparison import markdown_table
from training.device import machine

ROOT = Path(__file__).resolve().parents[1]
INSTALL = "pip install --constraint constraints.txt --editable '.[bench]'"

Step = Callable[[], object]
Row = Mapping[str, object]  # of a table, by the names of its columns


@dataclass(frozen=True)
class Protocol:
    """Repetitions of a step for one time. The median counts, which one interruption does not move."""

    warm_up: int = 1  # calls that are not timed: they compile kernels and fill caches
    repeats: int = 5  # timed calls, at least
    seconds: float = 0.2  # that the timed calls last together, at least


ONCE = Protocol(warm_up=0, repeats=1, seconds=0)


def median_seconds(step: Step, device: torch.device, protocol: Protocol) -> float:
    """Median time of one call of `step`, until the device has finished it."""
    for _ in range(protocol.warm_up):
        seconds_of(step, device)
    times: list[float] = []
    while len(times) < protocol.repeats or sum(times) < protocol.seconds:
        times.append(seconds_of(step, device))
    return statistics.median(times)


def seconds_of(step: Step, device: torch.device) -> float:
    """Time of one call of `step`, until the device has finished it."""
    synchronize(device)
    start = time.perf_counter()
    step()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_bytes(step: Step) -> int:
    """The most bytes of tensors alive at once while `step` runs, its backward passes too, beyond those alive before.

    A storage counts once, however many views it has. Scratch memory inside a kernel is not seen, nor what the allocator
    holds in reserve. Where gradients of several paths meet, one tensor more may count than is needed unwatched.
    """
    with _MemoryWatch() as watch:
        step()
    return watch.peak


class _MemoryWatch(TorchDispatchMode):
    """Sees every operation below autograd, and so the tensors of the backward pass as well."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # it has no types
        self.live = self.peak = 0  # bytes
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Callable[..., object], types: object, args: Any = (), kwargs: Any = None
    ) -> object:
        # An input that no operation has made was there before.
        self._known.update(_storages((args, kwargs)))
        result = func(*args, **kwargs or {})
        for storage in _storages(result):
            if storage not in self._known:
                self._known.add(storage)
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self._free, storage.nbytes())
        return result

    def _free(self, size: int) -> None:
        self.live -= size


def _storages(tree: object) -> Iterator[torch.UntypedStorage]:
    return (leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest of some rounds. `f"{spread:.2f}"` writes all three."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))

    def __mul__(self, factor: float) -> "Spread":
        return Spread(factor * self.median, factor * self.lowest, factor * self.highest)

    def __format__(self, spec: str) -> str:
        return f"{self.median:{spec}} ({self.lowest:{spec}} to {self.highest:{spec}})"


def times_as_fast(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Paired ratios: their seconds over our seconds of the same round, whose turns lie close in time."""
    return Spread.of([their / our for our, their in zip(ours, theirs, strict=True)])


def version(package: str) -> str | None:
    """The installed version, None if there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit(folder: Path = ROOT) -> str:
    """The commit checked out in `folder`, with "-dirty" if files differ from it."""
    if not (folder / ".git").exists():  # git would answer for a checkout around it
        return "not a git checkout"
    command = ("git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown: git failed"


def table(rows: Sequence[Row]) -> str:
    """Rows of the same keys in Markdown, numbers with two decimals."""
    cells = [
        [f"{cell:z.2f}" if isinstance(cell, float | Spread) else str(cell) for cell in row.values()] for row in rows
    ]
    return markdown_table([[*rows[0]], *cells])


def new_figure(width: float, height: float) -> Any:
    """An empty figure of matplotlib's, in inches; None, after saying so, if that is not installed."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        print(f"no plot, as matplotlib is not installed: {INSTALL}")
        return None
    return Figure(figsize=(width, height), layout="constrained")


class Report:
    """A benchmark's results: `data` becomes NAME.json, the sections NAME.md. Made before anything is measured."""

    def __init__(self, name: str, title: str, device: torch.device, quick: bool) -> None:
        self.name, self.title, self.sections = name, title, list[str]()
        self.data: dict[str, Any] = {"machine": machine(device), "device": device.type, "commit": commit()}
        self.data |= {"quick": quick, "versions": {}, "left_out": {}, "failed": {}}

    @property
    def conditions(self) -> str:
        """The machine in one line. The CPU's threads do not matter to a GPU."""
        found = self.data["machine"]
        threads = "" if self.data["device"] == "cuda" else f", {found['threads']} threads"
        quick = "QUICK TRIAL, FIGURES MEAN NOTHING: " if self.data["quick"] else ""
        return f"{quick}{found['hardware']}{threads}, torch {found['torch']}, {found['date']}"

    def add(self, heading: str, *parts: str | Sequence[Row]) -> None:
        """A section of paragraphs and tables; empty ones are left out."""
        texts = [part if isinstance(part, str) else table(part) for part in parts if part]
        self.sections.append("\n\n".join([f"## {heading}", *texts]))

    def markdown(self) -> str:
        data, lines = self.data, [f"{self.conditions}.", f"Charscope: commit {self.data['commit']}."]
        lines += [f"{name}: {version}." for name, version in data["versions"].items()]
        lines += [f"Left out: {name}: {reason}." for name, reason in data["left_out"].items()]
        lines += [f"Failed: {name}: {reason}" for name, reason in data["failed"].items()]
        lines.append("How it is measured: [README.md](../README.md), as of that commit.")
        return "\n\n".join([f"# {self.title}", "\n".join(lines), *self.sections]) + "\n"

    def write(self, folder: Path) -> None:
        content = json.dumps(self.data, indent=2, allow_nan=False, default=asdict) + "\n"
        for suffix, written in ("json", content), ("md", self.markdown()):
            with replacing(folder / f"{self.name}.{suffix}") as stream:
                stream.write(written.encode())

    def save(self, folder: Path) -> None:
        """Print the Markdown and write both files. Exits with 1 if a contestant failed."""
        print(self.markdown())
        self.write(folder)
        print(f"written to {folder}")
        if self.data["failed"]:
            raise SystemExit(f"failed: {', '.join(self.data['failed'])}")


class Options(argparse.ArgumentParser):
    """--quick, --device and --output; --nanogpt where a file of it is named, --rounds where there is a default."""

    def __init__(
        self,
        module: str,
        doc: str | None,
        nanogpt_file: str = "",
        rounds: int = 0,
        baseline: bool = False,
        peers: bool = False,
    ) -> None:
        super().__init__(prog=f"python -m bench.{module}", description=(doc or "").partition("\n")[0])
        self._nanogpt_file, self._rounds = nanogpt_file, rounds
        self.add_argument("--quick", action="store_true", help="tiny sizes, one round: to try the command itself")
        self.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
        self.add_argument("--output", type=Path, default=Path("bench/results"), metavar="FOLDER")
        if nanogpt_file:
            self.add_argument("--nanogpt", type=Path, metavar="FOLDER", help="a clone of github.com/karpathy/nanoGPT")
        if baseline:
            self.add_argument(
                "--baseline", type=Path, metavar="FOLDER", help="a checkout of an earlier commit, not peers"
            )
        if peers:
            self.add_argument("--only", nargs="+", metavar="NAME", help="of the contestants, by default all")
        if rounds:
            self.add_argument("--rounds", type=int, metavar="N", help=f"that count, by default {rounds}")

    def read(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """Ends with one line and exit code 2 for what could only fail later."""
        options = self.parse_args(argv)
        if options.device == "cuda" and not torch.cuda.is_available():
            self.error("--device: expected cpu, got cuda on a machine without it")
        if options.output.exists() and not options.output.is_dir():
            self.error(f"--output: expected a folder, got {options.output}")
        if self._nanogpt_file and options.nanogpt:
            options.nanogpt = options.nanogpt.resolve()
            if not (options.nanogpt / self._nanogpt_file).is_file():
                self.error(
                    f"--nanogpt: expected a clone of nanoGPT, got {options.nanogpt} without {self._nanogpt_file}"
                )
        if (checkout := getattr(options, "baseline", None)) and not (checkout / "train.py").is_file():
            self.error(f"--baseline: expected a checkout of Charscope, got {checkout}, which has no train.py")
        if self._rounds:
            if options.rounds is None:
                options.rounds = 1 if options.quick else self._rounds
            if options.rounds < 1:
                self.error(f"--rounds: expected at least 1, got {options.rounds}")
        return options
