"""Training from ids in memory and from ids in a file, in turn: whether it waits for them."""

import gc
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from bench.data_report import Batching
from bench.ours import VOCABULARY_SIZE, Ours, Shape
from bench.throughput_report import Spread
from data.batches import Batches, Windows
from data.mapped import mapped

IN_MEMORY, COLD, WARM = "in memory", "in a file, cold", "in a file, warm"


def train_in_turn(shape: Shape, in_memory: int, in_file: int, steps: int, rounds: int, folder: Path) -> Batching:
    """Train for so many `steps` on so many bytes of ids in memory and in a file, in turn in every round."""
    ours, file = Ours.of(shape, torch.device("cpu")), folder / "ids"
    block = np.random.default_rng(0).integers(VOCABULARY_SIZE, size=in_memory, dtype=np.uint8)
    with open(file, "wb") as stream:
        for _ in range(in_file // in_memory):
            stream.write(block.data)
        stream.flush()
        os.fsync(stream.fileno())

    def train(batches: Batches, turn: range) -> None:
        for step in turn:
            batch = batches(step)
            ours.step(batch.inputs, batch.targets)

    def make(batches: Batches, turn: range) -> None:
        for step in turn:
            batches(step)

    seconds: dict[str, list[float]] = {IN_MEMORY: [], COLD: [], WARM: []}
    alone: dict[str, list[float]] = {name: [] for name in seconds}
    read: dict[str, int] = {}
    train(Batches(Windows(block, shape.context), shape.batch, seed=0), range(steps))  # it warms up
    for number in tqdm(range(rounds), desc="training", unit="round", disable=None):
        for name in seconds:
            for kind, (work, times) in enumerate(((train, seconds[name]), (make, alone[name]))):
                # Each turn has batches of its own, which no turn before has brought into memory.
                first = (2 * number + kind) * steps
                ids = block if name == IN_MEMORY else prepared(file, cold=name == COLD)
                batches, before = Batches(Windows(ids, shape.context), shape.batch, seed=0), bytes_read()
                batches(first)  # it makes the order of the epoch
                times.append(timed(work, batches, range(first, first + steps)) / steps)
                if work is train:
                    read[name] = bytes_read() - before
                del ids, batches
    ratios = {
        name: Spread.of([memory / time for memory, time in zip(seconds[IN_MEMORY], times, strict=True)])
        for name, times in seconds.items()
        if name != IN_MEMORY
    }
    step_seconds, batch_seconds = (
        {name: Spread.of(values) for name, values in found.items()} for found in (seconds, alone)
    )
    return Batching(in_memory, file.stat().st_size, steps, asdict(shape), step_seconds, ratios, batch_seconds, read)


def timed(work: Callable[[Batches, range], None], batches: Batches, turn: range) -> float:
    start = time.perf_counter()
    work(batches, turn)
    return time.perf_counter() - start


def prepared(file: Path, cold: bool) -> np.ndarray:
    """The ids in `file`, none of which are in memory, or all."""
    gc.collect()  # pages that are still mapped would not be dropped
    with open(file, "rb") as stream:
        if cold:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        else:
            while stream.read(2**24):
                pass
    return mapped(file, np.dtype(np.uint8))


def bytes_read() -> int:
    """What the disk has given to this process."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes:"))
