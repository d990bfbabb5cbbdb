"""Characters a second in sampling, of this project and of its peers at the same shape, side by side.

    python -m bench.sampling [--quick] [--device cpu|cuda] [--nanogpt FOLDER] [--checkpoint FILE] [--batch 1 10 64]
                             [--rounds N] [--output bench/results]

FOLDER is a clone of github.com/karpathy/nanoGPT, which is not on the Python Package Index; transformers comes with the
extra `bench`. FILE is a checkpoint of a small model, or the folder of its run. `protocol` says what is timed. A
contestant that fails is named, and the others go on without it.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from bench.machine import Protocol
from bench.ours import SHAPES, VOCABULARY_SIZE, Shape
from bench.peers import commit, version
from bench.report import keep
from bench.samplers import (
    FIRST,
    POSITIONS,
    TEMPERATURE,
    WARM_UP,
    Contestant,
    as_sampled,
    contestants,
    get_ready,
    new_decoder,
)
from bench.sampling_alone import find_late, find_limit, find_start_up
from bench.sampling_report import Contest, Findings, Result, markdown, plot
from bench.stopwatch import ROOT, RunFailedError
from bench.workers import Worker
from errors import UserError
from model.config import PositionKind
from training.device import machine

ROUNDS = 3
LATE_RUNS = 7
LARGE = 10  # a batch above it writes less, so that all ends within the hour


@dataclass(frozen=True)
class Plan:
    """How much is written."""

    shape: Shape
    batches: tuple[int, ...]
    length: int  # ids of each sequence
    large_length: int  # of each of more than LARGE sequences
    early: int  # the id whose cost is compared
    late: int  # with that of this one
    reading: Protocol  # of memory
    start_ups: int

    def lengths(self, batch: int) -> tuple[int, int]:
        """Ids of each sequence while its context fills, and in all."""
        return self.shape.context - 1, self.large_length if batch > LARGE else self.length


WHOLE = Plan(SHAPES["baby_gpt"], (1, 10, 64), 1000, 300, 100, 10_000, Protocol(warm_up=3, repeats=50, seconds=1.0), 7)
TINY = replace(SHAPES["baby_gpt"], name="tiny", layers=1, heads=2, width=16, context=8)
QUICK = Plan(TINY, (1, 2), 12, 10, 4, 40, Protocol(warm_up=0, repeats=1, seconds=0), 1)


def protocol(plan: Plan) -> str:
    filling, length = plan.lengths(1)
    return f"""\
All write on from one id, at temperature {TEMPERATURE}, without other filters, from a vocabulary of {VOCABULARY_SIZE}.
Weights are random. Each contestant has a process of its own for each batch size, and first writes {WARM_UP} ids that do
not count. When all have, each has its turn in every round, in the order of the table, while the others wait. In a turn
it writes a single id of each sequence ({FIRST.repeats} calls after one that does not count, of which the median is the
time to the first), then {filling:,} ids of each, which the context holds with the prompt, and then {length:,} of each,
or {plan.large_length:,} with a batch above {LARGE}. Every call begins anew with the prompt.

Characters/s are those of all sequences together. Figures are the median of rounds (lowest to highest). Ratios are of
seconds, taken within each round, as its turns lie close in time, and are the median of those (lowest to highest).

Memory is how much the peak of the process has grown from when its model was ready to the end of its last turn: of the
resident set on a CPU, libraries that are loaded by the first call included, and of what torch allocated on a GPU.

"charscope" is what `sample.py` takes at this size. All of charscope write by `sampling.generate.generate`, which hands
over each id as it is written. Past the context it reads the last half again, so that an id sees between half a context
and all of it. "charscope, fp32" computes in float32. "charscope, learned positions" is no preset, but has the positions
of the peers. nanoGPT writes by its own `generate`, in evaluation mode, in float32 on a CPU and under autocast on a GPU,
as its `sample.py` does. It remembers nothing: for each id it reads all before it, and past the context all of the last
one. transformers is GPT-2 by its own `generate`, in float32 and inference mode, with its cache of keys and values. That
cache does not slide: past the context of the others it attends to all ids before, for which it has {POSITIONS:,}
positions (they are among its parameters). At equal context it is therefore compared over {filling:,} ids alone; over
more it has the longer memory, at its cost.

Alone, charscope writes one sequence {LATE_RUNS} times, after {WARM_UP} ids that do not count. The mean of an id is
taken over two stretches, around the {plan.early:,}th id and the {plan.late:,}th, each as long as it is from one
reading again to the next: the later one holds one such reading, the earlier one none. The limit is how fast as many
bytes as the weights are summed as float32 (the median of many times), over the bytes that are read for an id: the
matrices of the blocks and the output layer, and the keys and values of a full context. The share is of the
characters/s with batch 1 over {length:,} ids. Start-up is from the start of a process to its first byte of output, of
`python -c "import torch; print(flush=True)"` and of `python sample.py length=1` in turn, after one turn that does not
count."""


def compete(
    shape: Shape, entrants: Sequence[Contestant], device: torch.device, lengths: tuple[int, int], rounds: int
) -> Contest:
    """Have all `entrants` write in turn, round by round."""
    with ExitStack() as stack:
        workers = [stack.enter_context(closing(Worker(get_ready, entrant, shape, device))) for entrant in entrants]
        for worker in workers:  # none is timed while another gets ready
            worker.get_ready()
        for _ in tqdm(range(rounds), desc=f"batch {shape.batch}", unit="round", disable=None):
            for worker in workers:
                worker.take_turn(lengths)
    failed = {worker.contestant.name: worker.failure for worker in workers if worker.failure is not None}
    well = [worker for worker in workers if worker.failure is None]
    peers = {worker.contestant.name: worker.answers for worker in well if not worker.contestant.ours}
    results = []
    for worker in well:
        assert worker.ready is not None
        compared = peers if worker.contestant.ours else {}
        results.append(Result.of(worker.contestant.name, worker.ready, worker.answers, shape.batch, lengths, compared))
    return Contest(shape.batch, *lengths, results, failed)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.sampling", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes and one round: to try the command itself")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--nanogpt", type=Path, metavar="FOLDER", help="a clone of nanoGPT, left out without one")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="of a small model, to time the start of sample.py"
    )
    parser.add_argument("--batch", type=int, nargs="+", metavar="N", help="sequences side by side, by default 1 10 64")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"by default {ROUNDS}")
    parser.add_argument("--output", type=Path, default=Path("bench/results"), metavar="FOLDER")
    options = parser.parse_args(argv)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: expected cpu, got cuda on a machine without it")
    if options.nanogpt and not (options.nanogpt / "model.py").is_file():
        parser.error(f"--nanogpt: expected a clone of nanoGPT, got {options.nanogpt}, which has no model.py")
    if options.rounds is None:
        options.rounds = 1 if options.quick else ROUNDS
    for name, values in ("rounds", [options.rounds]), ("batch", options.batch or []):
        if any(value < 1 for value in values):
            parser.error(f"--{name}: expected at least 1, got {min(values)}")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    device = torch.device(options.device)
    revision, where_it_ran = commit(ROOT), machine(device)  # as they were at the start
    plan = QUICK if options.quick else WHOLE
    entrants, left_out = contestants(options.nanogpt)
    versions = {"nanoGPT": commit(options.nanogpt)} if options.nanogpt else {}
    if found_version := version("transformers"):
        versions["transformers"] = found_version
    if not options.checkpoint:
        left_out["start-up"] = "no --checkpoint says what to write with"
    try:  # first, as it can be mistaken
        start_up = find_start_up(options.checkpoint, plan.start_ups) if options.checkpoint else None
    except (UserError, RunFailedError) as error:
        sys.exit(f"python -m bench.sampling: {error}")
    decoder = as_sampled(new_decoder(plan.shape, PositionKind.rotary, device), rows=1)
    late, limit = (
        find_late(decoder, plan.early, plan.late, 1 if options.quick else LATE_RUNS),
        find_limit(decoder, plan.reading),
    )
    contests = [
        compete(replace(plan.shape, batch=batch), entrants, device, plan.lengths(batch), options.rounds)
        for batch in dict.fromkeys(options.batch or plan.batches)
    ]
    found = Findings(
        machine=where_it_ran,
        device=device.type,
        commit=revision,
        protocol=protocol(plan),
        shape=plan.shape,
        rounds=options.rounds,
        versions=versions,
        left_out=left_out,
        contests=contests,
        late=late,
        limit=limit,
        start_up=start_up,
        trial=options.quick,
    )
    keep(options.output, f"sampling_{device.type}", asdict(found), markdown(found), partial(plot, found))
    if failed := dict.fromkeys(name for contest in contests for name in contest.failed):
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
