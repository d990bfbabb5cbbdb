"""Characters a second in training, of this project and of its peers at equal shapes, side by side.

    python -m bench.throughput [--quick] [--device cpu|cuda] [--nanogpt FOLDER] [--shape small baby_gpt]
                               [--rounds N] [--output bench/results]

FOLDER is a clone of github.com/karpathy/nanoGPT, which is not on the Python Package Index; the other peers come with
the extra `bench`. `PROTOCOL` says what is timed. A contestant that fails is named, and the others go on without it.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from tqdm import tqdm

from bench.machine import Protocol, median_seconds
from bench.ours import SHAPES, VOCABULARY_SIZE, Shape, shape_on
from bench.peers import Contestant, commit, contestants, version
from bench.report import keep
from bench.stopwatch import ROOT
from bench.throughput_report import Contest, Findings, Result, Spread, markdown, plot
from bench.workers import Answer, Ready, Worker
from training.device import machine

ROUNDS = 7
BATCHES = 8  # that are made beforehand, and used in turn
ROUND = Protocol(warm_up=0, repeats=3, seconds=2.0)

PROTOCOL = f"""\
A step is forward pass, cross-entropy, backward pass, clipping of the gradient to norm 1 in charscope and nanoGPT (whose
own scripts do so), optimizer step, and clearing of gradients. Shape, batch and context are the same for all, the
vocabulary has {VOCABULARY_SIZE} characters, and dropout is 0. All else (precision, attention kernel, activation,
optimizer, memory allocator) is as each ships, with torch's defaults where a peer leaves it to its users. Charscope's
process keeps the memory that a step frees for the next one, as train.py does, where the C library lets it
(`training.allocator.keep_freed_memory`); those of the peers have the C library's defaults. All get the same
{BATCHES} random batches, made beforehand: no data are loaded.

"charscope" is what the presets take: Muon and rotary positions, not compiled on a CPU for runs as short as theirs, and
compiled on a GPU. "charscope with AdamW" is neither preset: AdamW and positions that are added are what peers have.

Each contestant has a process of its own. In every round each has its turn, in the order of the table, while the others
wait. A turn is at least {ROUND.repeats} steps and {ROUND.seconds:g} seconds, each step timed until the device has
finished it, and the median step counts. One more round comes first, which compiles and fills caches and does not count.
Speeds are the median of rounds (lowest to highest). Ratios are taken within each round, as its turns lie close in time,
and are the median of those (lowest to highest)."""


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """How many times as fast ours is, round by round, from the seconds of a step in each."""
    return Spread.of([their / our for our, their in zip(ours, theirs, strict=True)])


def get_ready(contestant: Contestant, shape: Shape, device: torch.device) -> tuple[Ready, Answer]:
    """In the process of a contestant: to answer every protocol with the median seconds of a step."""
    training = contestant.prepare(shape, device)
    batches = cycle(random_batches(shape, device))

    def answer(timing: Protocol) -> float:
        return median_seconds(lambda: training.step(*next(batches)), device, timing)

    return Ready(training.parameters, training.settings), answer


def random_batches(shape: Shape, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Inputs and targets, (B, T) each: the same in every process."""
    size = (BATCHES, 2, shape.batch, shape.context)
    ids = torch.randint(VOCABULARY_SIZE, size, generator=torch.Generator().manual_seed(0)).to(device)
    return [(inputs, targets) for inputs, targets in ids]


def compete(
    shape: Shape, entrants: Sequence[Contestant], device: torch.device, timing: Protocol, rounds: int
) -> Contest:
    """Time all `entrants` in turn, round by round."""
    with ExitStack() as stack:
        workers = [stack.enter_context(closing(Worker(get_ready, entrant, shape, device))) for entrant in entrants]
        for _ in tqdm(range(1 + rounds), desc=shape.name, unit="round", disable=None):
            for worker in workers:
                worker.take_turn(timing)
    failed = {worker.contestant.name: worker.failure for worker in workers if worker.failure is not None}
    return Contest(shape, results(shape, [worker for worker in workers if worker.failure is None]), failed)


def results(shape: Shape, workers: Sequence[Worker[Contestant]]) -> list[Result]:
    """What the workers came to without their first round."""
    seconds = {worker.contestant.name: worker.answers[1:] for worker in workers}
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


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, timed once: to try the command itself")
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
    shape = shape_on(device, name)
    return replace(shape, layers=1, heads=2, width=16, context=8, batch=2) if quick else shape


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    revision = commit(ROOT)  # as it was at the start
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
        machine=machine(device),
        device=device.type,
        commit=revision,
        protocol=PROTOCOL,
        timing=timing,
        rounds=options.rounds,
        versions=versions,
        left_out=left_out,
        contests=contests,
        trial=options.quick,
    )
    keep(options.output, f"throughput_{device.type}", asdict(found), markdown(found), partial(plot, found))
    if failed := dict.fromkeys(name for contest in contests for name in contest.failed):
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
