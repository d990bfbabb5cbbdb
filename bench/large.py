"""A decoder of a hundred million parameters at a context of a thousand: what its training takes in memory and in time.

    python -m bench.large [--quick] [--device cpu|cuda] [--output bench/results]

A few training steps on random characters, whole and in micro-batches, each way in a process of its own.
"""

import argparse
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from torch.utils._pytree import tree_leaves
from tqdm import tqdm

from bench.machine import peak_in_use, seconds_of
from bench.memory import peak_bytes
from bench.ours import Shape
from bench.peers import commit
from bench.report import Row, keep, table, where
from bench.step import TrainingStep
from bench.stopwatch import ROOT, RunFailedError
from bench.workers import Answer, Ready, Worker
from training.device import machine
from training.evaluate import summed_loss

LARGE = Shape("large", layers=14, heads=12, width=768, context=1024, batch=8)
QUICK = Shape("quick", layers=1, heads=1, width=8, context=8, batch=4)
STEPS = 3  # the first of which is not timed
GIB = 2**30


@dataclass(frozen=True)
class Steps:
    """What a process came to that took a few."""

    seconds: list[float]  # of each step but the first
    kept_bytes: int  # of weights and the optimizers' state
    step_bytes: int  # the most that activations and gradients take at once
    whole_step_bytes: int  # the same with what the optimizers compute with
    in_use: int  # the most bytes of the whole process, or of the GPU


@dataclass(frozen=True)
class Way:
    """Training with so many windows in memory at once."""

    windows: int
    parameters: int
    settings: str
    steps: Steps

    def row(self, shape: Shape) -> Row:
        steps, seconds = self.steps, median(self.steps.seconds)
        times: Row = {"seconds a step": seconds, "characters/s": round(shape.batch * shape.context / seconds)}
        return {
            "windows at once": self.windows,
            "weights and optimizer, GiB": steps.kept_bytes / GIB,
            "activations and gradients, GiB": steps.step_bytes / GIB,
            "whole step, GiB": steps.whole_step_bytes / GIB,
            "process, GiB": steps.in_use / GIB,
        } | times


@dataclass(frozen=True)
class Findings:
    """What large_DEVICE.json holds."""

    machine: dict[str, str | int]
    device: str
    commit: str
    shape: Shape
    ways: list[Way]
    failed: dict[str, str]  # why, by the number of windows at once
    trial: bool


def get_ready(windows: int, shape: Shape, device: torch.device) -> tuple[Ready, Answer]:
    """In a process of its own: to answer a number of steps with `Steps`."""
    step = TrainingStep.of(shape, device, micro_batch=windows)
    ours = step.ours

    def answer(count: int) -> Steps:
        seconds = [seconds_of(step.take, device) for _ in range(count)][1:]
        in_use = peak_in_use(device)
        states = (leaf for optimizer in ours.optimizers for leaf in tree_leaves(optimizer.state_dict()["state"]))
        kept = [*ours.decoder.parameters(), *(leaf for leaf in states if isinstance(leaf, torch.Tensor))]
        whole = peak_bytes(step.take)
        ours.decoder.zero_grad(set_to_none=True)
        micro_batch = next(step.batch.split(ours.config.micro_batch_size or len(step.batch.inputs)))
        taken = peak_bytes(lambda: summed_loss(ours.decoder, micro_batch, ours.runtime).backward())
        return Steps(seconds, sum(tensor.nbytes for tensor in kept), taken, whole, in_use)

    return Ready(ours.decoder.parameter_count(), ours.described()), answer


def find(device: torch.device, quick: bool) -> Findings:
    """Train in every way, one after the other for the sake of memory. Raises RunFailedError if none succeeds."""
    shape, revision = QUICK if quick else LARGE, commit(ROOT)
    ways, failed = list[Way](), dict[str, str]()
    for windows in tqdm((1, shape.batch), unit="way", disable=None):
        with closing(Worker(get_ready, windows, shape, device)) as worker:
            worker.take_turn(STEPS)
        if worker.ready and not worker.failure:
            ways.append(Way(windows, worker.ready.parameters, worker.ready.settings, worker.answers[0]))
        else:
            failed[str(windows)] = str(worker.failure)
    if not ways:
        raise RunFailedError(f"expected training steps, got none: {'; '.join(failed.values())}")
    return Findings(machine(device), device.type, revision, shape, ways, failed, quick)


def markdown(found: Findings) -> str:
    """What large_DEVICE.md holds."""
    shape, way = found.shape, found.ways[0]
    trial = "**A trial of the command: the decoder is tiny, so the figures mean nothing.**\n\n"
    failures = "".join(f"\nWith {windows} windows at once it failed: {why}\n" for windows, why in found.failed.items())
    return f"""# Training a large decoder

{trial if found.trial else ""}{where(found.machine, found.device)}, commit {found.commit}.

{way.parameters:,} parameters: {shape.layers} layers of width {shape.width}, {shape.heads} heads.
Context {shape.context}, {shape.batch} windows a step, {way.settings}. The first step is not timed.
Of a step, memory is the most bytes of its tensors at once, beside weights and the optimizers' state; of the process, it
is the most resident at once, libraries included (on a GPU what torch has allocated).

{table([way.row(shape) for way in found.ways])}
{failures}"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.large", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tiny decoder: to try the command itself")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--output", type=Path, default=Path("bench/results"), metavar="FOLDER")
    options = parser.parse_args(argv)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: expected cpu, got cuda on a machine without it")
    try:
        found = find(torch.device(options.device), options.quick)
    except RunFailedError as error:
        parser.error(str(error))
    keep(options.output, f"large_{found.device}", asdict(found), markdown(found))


if __name__ == "__main__":
    main()
