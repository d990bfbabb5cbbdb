"""Characters a second in training, of this project and of its peers at equal shapes, side by side.

    python -m bench.throughput [--quick] [--device cpu|cuda] [--nanogpt FOLDER] [--shape small baby_gpt]
                               [--rounds N] [--output bench/results]

FOLDER is a clone of github.com/karpathy/nanoGPT, which is not on the Python Package Index; the other peers come with
the extra `bench`. `PROTOCOL` says what is timed. A contestant that fails is named, and the others go on without it.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import torch
from tqdm import tqdm

from bench.machine import Protocol
from bench.ours import CPU_BATCHES, SHAPES, VOCABULARY_SIZE, Shape
from bench.peers import Contestant, commit, contestants, version
from bench.workers import BATCHES, Worker
from files import replacing
from training.comparison import markdown_table
from training.runtime import machine

ROUNDS = 7
ROUND = Protocol(warm_up=0, repeats=3, seconds=2.0)
OURS, PEERS = "#D55E00", "#0072B2"  # colours of Okabe and Ito 2008

PROTOCOL = f"""\
A step is forward pass, cross-entropy, backward pass, clipping of the gradient to norm 1 in charscope and nanoGPT (whose
own scripts do so), optimizer step, and clearing of gradients. Shape, batch and context are the same for all, the
vocabulary has {VOCABULARY_SIZE} characters, and dropout is 0. All else (precision, attention kernel, activation,
optimizer) is as each ships, with torch's defaults where a peer leaves it to its users. All get the same {BATCHES}
random batches, made beforehand: no data are loaded.

Each contestant has a process of its own. In every round each has its turn, in the order of the table, while the others
wait. A turn is at least {ROUND.repeats} steps and {ROUND.seconds:g} seconds, each step timed until the device has
finished it, and the median step counts. One more round comes first, which compiles and fills caches and does not count.
Speeds are the median of rounds (lowest to highest). Ratios are taken within each round, as its turns lie close in time,
and are the median of those (lowest to highest)."""


@dataclass(frozen=True)
class Spread:
    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Result:
    """What one contestant came to."""

    name: str
    settings: str
    parameters: int
    round_seconds: list[float]  # a step, the median of each round
    step_seconds: float  # median of rounds
    characters_per_second: Spread
    ratios: dict[str, Spread]  # if it is one of ours: how many times as fast as each peer


@dataclass(frozen=True)
class Contest:
    """All contestants at one shape."""

    shape: Shape
    results: list[Result]
    failed: dict[str, str]  # why


@dataclass(frozen=True)
class Findings:
    machine: dict[str, str | int]
    device: str
    protocol: str
    timing: Protocol  # of a round
    rounds: int
    versions: dict[str, str]
    left_out: dict[str, str]  # why
    contests: list[Contest]
    trial: bool  # of the command itself: tiny sizes, each timed once

    def where(self) -> str:
        threads = "" if self.device == "cuda" else f", {self.machine['threads']} threads"
        return f"{self.machine['hardware']}{threads}, torch {self.machine['torch']}, {self.machine['date']}"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """How many times as fast ours is, round by round, from the seconds of a step in each."""
    return Spread.of([their / our for our, their in zip(ours, theirs, strict=True)])


def compete(
    shape: Shape, entrants: Sequence[Contestant], device: torch.device, timing: Protocol, rounds: int
) -> Contest:
    """Time all `entrants` in turn, round by round."""
    with ExitStack() as stack:
        workers = [stack.enter_context(closing(Worker(entrant, shape, device))) for entrant in entrants]
        for _ in tqdm(range(1 + rounds), desc=shape.name, unit="round", disable=None):
            for worker in workers:
                worker.take_turn(timing)
    failed = {worker.contestant.name: worker.failure for worker in workers if worker.failure is not None}
    return Contest(shape, results(shape, [worker for worker in workers if worker.failure is None]), failed)


def results(shape: Shape, workers: Sequence[Worker]) -> list[Result]:
    """What the workers came to without their first round."""
    seconds = {worker.contestant.name: worker.seconds[1:] for worker in workers}
    peers = [worker.contestant.name for worker in workers if not worker.contestant.ours]
    found = []
    for worker in workers:
        assert worker.ready is not None
        name, times = worker.contestant.name, seconds[worker.contestant.name]
        speed = Spread.of([shape.batch * shape.context / time for time in times])
        ratios = {peer: ratio(times, seconds[peer]) for peer in peers if worker.contestant.ours}
        ready = worker.ready
        found.append(Result(name, ready.settings, ready.parameters, times, median(times), speed, ratios))
    return found


def installed(entrants: Sequence[Contestant]) -> tuple[list[Contestant], dict[str, str]]:
    """Those whose package is there, and why the others are left out."""
    missing = {
        entrant.name: f"{entrant.package} is not installed: "
        "pip install --constraint constraints.txt --editable '.[bench]'"
        for entrant in entrants
        if entrant.package and version(entrant.package) is None
    }
    return [entrant for entrant in entrants if entrant.name not in missing], missing


# How it is told


def markdown(found: Findings) -> str:
    """What throughput_DEVICE.md holds."""
    trial = "**A trial of the command: sizes are tiny and timed once, so the figures mean nothing.**\n\n"
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    left_out = "".join(f"Left out: {name}, {reason}.\n" for name, reason in found.left_out.items())
    sections = "\n".join(section(contest) for contest in found.contests)
    return f"""# Training speed beside peers

{trial if found.trial else ""}{found.where()}, {found.rounds} rounds.
Peers: {versions or "none"}; torch.nn.TransformerEncoder is of torch.
{left_out}
{found.protocol}

{sections}"""


def section(contest: Contest) -> str:
    """One shape."""
    shape = contest.shape
    speeds = [["contestant", "runs in", "parameters", "ms/step", "characters/s"]]
    speeds += [
        [
            result.name,
            result.settings,
            f"{result.parameters:,}",
            f"{1e3 * result.step_seconds:.2f}",
            told(result.characters_per_second, ",.0f"),
        ]
        for result in contest.results
    ]
    compared = [result for result in contest.results if result.ratios]
    peers = list(compared[0].ratios) if compared else []
    ratios = [["times as fast as", *peers]]
    ratios += [[result.name, *(told(result.ratios[peer], ".2f") for peer in peers)] for result in compared]
    failed = "".join(f"\n{name} failed: {reason}\n" for name, reason in contest.failed.items())
    sizes = (
        f"{shape.layers} layers, {shape.heads} heads, width {shape.width}, context {shape.context}, batch {shape.batch}"
    )
    tables = "\n\n".join(markdown_table(rows) for rows in (speeds, ratios) if len(rows) > 1)
    return f"## {shape.name}: {sizes}\n\n{tables}\n{failed}"


def told(spread: Spread, form: str) -> str:
    return f"{spread.median:{form}} ({spread.lowest:{form}} to {spread.highest:{form}})"


def plot(found: Findings, file: Path) -> None:
    """Bars of characters/s, a panel for each shape. Raises ModuleNotFoundError without matplotlib."""
    from matplotlib.figure import Figure  # measuring does without it

    figure = Figure(figsize=(9, 0.6 + 2.8 * len(found.contests)), layout="constrained")
    figure.suptitle(f"Training: {found.where()}")
    panels = figure.subplots(len(found.contests), squeeze=False)[:, 0]
    for axes, contest in zip(panels, found.contests, strict=True):
        names = [result.name for result in contest.results]
        speeds = [result.characters_per_second for result in contest.results]
        reach = [[s.median - s.lowest for s in speeds], [s.highest - s.median for s in speeds]]
        colours = [OURS if result.ratios else PEERS for result in contest.results]
        axes.barh(names, [s.median for s in speeds], xerr=reach, color=colours)
        axes.invert_yaxis()  # ours first
        axes.set(title=contest.shape.name, xlabel="characters/s, median of rounds (lowest to highest)")
        axes.grid(axis="x", alpha=0.3)
    with replacing(file) as stream:
        figure.savefig(stream, format="png", dpi=100)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, timed once, not compiled: to try the command")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--nanogpt", type=Path, metavar="FOLDER", help="a clone of nanoGPT, left out without one")
    parser.add_argument("--shape", choices=tuple(SHAPES), nargs="+", default=tuple(SHAPES))
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"that count, by default {ROUNDS}")
    parser.add_argument("--output", type=Path, default=Path("bench/results"), metavar="FOLDER")
    options = parser.parse_args(argv)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: expected cpu, got cuda on a machine without it")
    if options.nanogpt and not (options.nanogpt / "model.py").is_file():
        parser.error(f"--nanogpt: expected a clone of nanoGPT, got {options.nanogpt}, which has no model.py")
    if options.rounds < 1:
        parser.error(f"--rounds: expected at least 1, got {options.rounds}")
    return options


def shape_for(name: str, device: str, quick: bool) -> Shape:
    shape = SHAPES[name]
    if quick:
        return replace(shape, layers=1, heads=2, width=16, context=8, batch=2)
    return replace(shape, batch=CPU_BATCHES.get(name, shape.batch)) if device == "cpu" else shape


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    device = torch.device(options.device)
    timing = Protocol(warm_up=0, repeats=1, seconds=0) if options.quick else ROUND
    everyone = [each for each in contestants(options.nanogpt) if not (options.quick and each.compiled)]
    entrants, left_out = installed(everyone)
    versions = {entrant.name: str(version(entrant.package)) for entrant in entrants if entrant.package}
    if options.nanogpt:
        versions["nanoGPT"] = commit(options.nanogpt)
    else:
        left_out["nanoGPT"] = "no --nanogpt says where it is"
    shapes = [shape_for(name, options.device, options.quick) for name in dict.fromkeys(options.shape)]
    contests = [compete(shape, entrants, device, timing, options.rounds) for shape in shapes]
    found = Findings(
        machine(device), device.type, PROTOCOL, timing, options.rounds, versions, left_out, contests, options.quick
    )

    text, name = markdown(found), f"throughput_{device.type}"
    print(text)
    for suffix, content in (".json", json.dumps(asdict(found), indent=2) + "\n"), (".md", text):
        with replacing(options.output / f"{name}{suffix}") as stream:
            stream.write(content.encode())
    try:
        plot(found, options.output / f"{name}.png")
    except ModuleNotFoundError:
        print("no plot: it needs matplotlib, pip install --constraint constraints.txt --editable '.[bench]'")
    print(f"kept in {options.output}")
    if failed := dict.fromkeys(name for contest in contests for name in contest.failed):
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
