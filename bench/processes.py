"""How training speeds up with more processes, each with a thread or a GPU of its own.

    python -m bench.processes [--quick] [--device cpu|cuda] [--processes N ...] [--output bench/results]

Weak scaling: every process takes batches of one size, so that a step learns from as many more. Strong scaling: the
batch of a step is one size, and is divided. Beside them, on a CPU, one process with as many threads. All in turn, round
by round, each time in new processes that torchrun starts, with the training step of `training.loop`.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from tqdm import tqdm

from bench.machine import Protocol, median_seconds, peak_in_use
from bench.ours import SHAPES, VOCABULARY_SIZE, Ours, Shape
from bench.peers import commit
from bench.report import Row, keep, table, where
from bench.stopwatch import ROOT, RunFailedError
from data.batches import Batch
from training.device import machine
from training.distributed import current_ranks, run_ranks
from training.loop import train_step

BATCHES = {"small": 12, "baby_gpt": 8}  # of one process in weak scaling
QUICK = Shape("quick", layers=1, heads=1, width=8, context=8, batch=4)
WEAK, STRONG, THREADS = "weak", "strong", "threads"
ROUNDS = 3
PROTOCOL = Protocol(warm_up=3, repeats=5, seconds=4.0)
GIB = 2**30


@dataclass(frozen=True)
class Way:
    """Training by so many processes, each with `threads` on a CPU."""

    kind: str
    shape: Shape  # of a step, by all of them
    processes: int
    threads: int = 1


@dataclass(frozen=True)
class Speed:
    """What the first of the processes found."""

    seconds: float  # a step, the median
    in_use: int  # bytes of memory, the most


@dataclass(frozen=True)
class Findings:
    """What processes_DEVICE.json holds."""

    machine: dict[str, str | int]
    device: str
    commit: str
    protocol: Protocol
    ways: list[Way]
    rounds: list[list[Speed]]  # one of each way
    trial: bool


def ways(shapes: Sequence[Shape], counts: Sequence[int], device: str) -> list[Way]:
    """One process of each shape, then more. `shapes`: of what one does by itself."""
    found = []
    for shape in shapes:
        found.append(Way(WEAK, shape, 1))
        for count in counts:
            found.append(Way(WEAK, replace(shape, batch=count * shape.batch), count))
            found.append(Way(STRONG, shape, count))
            if device == "cpu":
                found.append(Way(THREADS, shape, 1, threads=count))
    return found


def measure(way: Way, device: str, protocol: Protocol) -> Speed:
    """Start the processes and let them take steps. Raises RunFailedError if they fail."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "speed.json")
        told = json.dumps([asdict(way.shape), asdict(protocol), device, str(file)])
        command = ["torch.distributed.run", "--standalone", f"--nproc-per-node={way.processes}"]
        done = subprocess.run(
            [sys.executable, "-m", *command, "-m", "bench.processes", "--worker", told],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": str(way.threads)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RunFailedError(f"{way.processes} processes ended with exit code {done.returncode}: {done.stderr}")
        return Speed(**json.loads(file.read_text(encoding="utf-8")))


def work(told: str) -> None:
    """In each of the processes: take steps on random characters."""
    shape_told, protocol_told, device_type, file = json.loads(told)
    shape, protocol, ranks = Shape(**shape_told), Protocol(**protocol_told), current_ranks()
    device = torch.device(device_type, ranks.local_rank) if device_type == "cuda" else torch.device(device_type)
    ours = Ours.of(shape, device)
    runtime = replace(ours.runtime, ranks=ranks)
    model = ranks.wrap_ddp(ours.decoder.to(device))
    own = shape.batch * (ranks.rank + 1) // ranks.world_size - shape.batch * ranks.rank // ranks.world_size
    inputs, targets = torch.randint(VOCABULARY_SIZE, (2, own, shape.context), device=device)
    batch = Batch(inputs, targets, part_of=shape.batch * shape.context)

    def step() -> None:
        train_step(model, ours.optimizers, ours.scaler, batch, ours.config, runtime)
        ranks.any_signal(None)  # as `fit` does

    # All must take the same number of steps, however long each finds that they take.
    once = median_seconds(step, device, replace(protocol, seconds=0.0))
    repeats = ranks.broadcast(max(protocol.repeats, math.ceil(protocol.seconds / once)))
    seconds = median_seconds(step, device, Protocol(0, repeats, 0.0))
    if ranks.is_first:
        Path(file).write_text(json.dumps(asdict(Speed(seconds, peak_in_use(device)))), encoding="utf-8")


def find(device: str, counts: Sequence[int], quick: bool) -> Findings:
    """Measure every way, in turn."""
    revision, protocol = commit(ROOT), Protocol(1, 2, 0.0) if quick else PROTOCOL
    shapes = [QUICK] if quick else [replace(SHAPES[name], batch=batch) for name, batch in BATCHES.items()]
    compared = ways(shapes, counts, device)
    turns = tqdm(total=len(compared) * (1 if quick else ROUNDS), unit="turn", disable=None)
    rounds: list[list[Speed]] = []
    for _ in range(1 if quick else ROUNDS):
        rounds.append([])
        for way in compared:
            rounds[-1].append(measure(way, device, protocol))
            turns.update()
    return Findings(machine(torch.device(device)), device, revision, protocol, compared, rounds, quick)


def rows(found: Findings) -> list[Row]:
    """Each way, beside one process by itself in the same round."""
    told, alone = [], defaultdict[str, int](int)
    for place, way in enumerate(found.ways):
        if way.processes == way.threads == 1:
            alone[way.shape.name] = place
        gains = []
        for speeds in found.rounds:
            one = found.ways[alone[way.shape.name]].shape.batch / speeds[alone[way.shape.name]].seconds
            gains.append(way.shape.batch / speeds[place].seconds / one)
        speeds = [speeds[place] for speeds in found.rounds]
        seconds, cores = median(speed.seconds for speed in speeds), way.processes * way.threads
        told.append(
            {
                "shape": way.shape.name,
                "": "" if cores == 1 else way.kind,
                "processes": way.processes,
                "threads each": way.threads,
                "batch": way.shape.batch,
                "ms a step": f"{1e3 * seconds:.1f}",
                "characters/s": f"{way.shape.batch * way.shape.context / seconds:,.0f}",
                "times one": f"{median(gains):.2f} ({min(gains):.2f} to {max(gains):.2f})",
                "of the ideal": f"{median(gains) / cores:.0%}",
                "a process, GiB": f"{max(speed.in_use for speed in speeds) / GIB:.2f}",
            }
        )
    return told


def markdown(found: Findings) -> str:
    """What processes_DEVICE.md holds."""
    trial = "**A trial of the command: the decoder is tiny, so the figures mean nothing.**\n\n"
    return f"""# Training by several processes

{trial if found.trial else ""}{where(found.machine, "cuda")}, commit {found.commit}.

Training steps with Muon and rotary positions on random characters; {len(found.rounds)} rounds in turn, new processes
each time, at least {found.protocol.seconds:.0f} s of steps in each. Times are medians of steps, then of rounds; gains
are over one process with one thread in the same round, median (lowest to highest). Weak: the batch grows with the
processes. Strong: it is divided among them. Threads: one process with more threads. Memory is the most that the first
process had in use, libraries included.

{table(rows(found))}
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.processes", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tiny decoder: to try the command itself")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--processes", type=int, nargs="+", default=[2], metavar="N", help="how many, besides one")
    parser.add_argument("--output", type=Path, default=Path("bench/results"), metavar="FOLDER")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        if "WORLD_SIZE" in os.environ and int(os.environ["WORLD_SIZE"]) > 1:
            return run_ranks(lambda: work(options.worker))
        return work(options.worker)
    if options.device == "cuda" and (there := torch.cuda.device_count()) < max(options.processes):
        parser.error(f"--processes: expected at most one for each of {there} GPUs, got {max(options.processes)}")
    try:
        found = find(options.device, options.processes, options.quick)
    except RunFailedError as error:
        parser.error(str(error))
    keep(options.output, f"processes_{found.device}", asdict(found), markdown(found))
    return None


if __name__ == "__main__":
    main()
