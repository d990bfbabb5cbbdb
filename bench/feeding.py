"""Training from ids in memory and from ids in a file, step by step in turn: whether it waits for them."""

import gc
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from bench.data_report import Batching
from bench.ours import VOCABULARY_SIZE, Ours, Shape
from bench.throughput_report import Spread
from data.batches import Batches, Windows

IN_MEMORY, COLD, WARM = "in memory", "in a file, cold", "in a file, warm"


def train_in_turn(shape: Shape, in_memory: int, in_file: int, steps: int, rounds: int, folder: Path) -> Batching:
    """Train for so many `steps` on so many bytes of ids in memory and in a file, a step of each in turn."""
    ours, file = Ours.of(shape, torch.device("cpu")), folder / "ids"
    block = np.random.default_rng(0).integers(VOCABULARY_SIZE, size=in_memory, dtype=np.uint8)
    with open(file, "wb") as stream:
        for _ in range(in_file // in_memory):
            stream.write(block.data)
        stream.flush()
        os.fsync(stream.fileno())

    def train(batches: Batches, step: int) -> None:
        batch = batches(step)
        ours.step(batch.inputs, batch.targets)

    def make(batches: Batches, step: int) -> None:
        batches(step)

    seconds: dict[str, list[float]] = {IN_MEMORY: [], COLD: [], WARM: []}
    alone: dict[str, list[float]] = {name: [] for name in seconds}
    ratios: dict[str, list[float]] = {COLD: [], WARM: []}
    read: dict[str, int] = {}
    for number in tqdm(range(rounds), desc="training", unit="round", disable=None):
        for name in ratios:
            for kind, (work, times) in enumerate(((train, seconds), (make, alone))):
                # Each turn has batches of its own, which no turn before has brought into memory.
                turn = range((2 * number + kind) * steps, (2 * number + kind + 1) * steps)
                both = {IN_MEMORY: block, name: prepared(file, cold=name == COLD)}
                sources = [Batches(Windows(ids, shape.context), shape.batch, seed=0) for ids in both.values()]
                for each, (taken, given) in zip(both, in_turn(work, sources, turn), strict=True):
                    times[each].append(taken)
                    if work is train:
                        read[each] = given
                if work is train:
                    ratios[name].append(times[IN_MEMORY][-1] / times[name][-1])
                del both, sources
    step_seconds, batch_seconds = (
        {name: Spread.of(values) for name, values in found.items()} for found in (seconds, alone)
    )
    faster = {name: Spread.of(values) for name, values in ratios.items()}
    return Batching(in_memory, file.stat().st_size, steps, asdict(shape), step_seconds, faster, batch_seconds, read)


def in_turn(work: Callable[[Batches, int], None], sources: Sequence[Batches], turn: range) -> list[tuple[float, int]]:
    """For each source the mean seconds that `work` takes with its batches, and the bytes that the disk gives for them.

    Step by step, and which is first in turn as well, as a machine may become slower at any time.
    """
    spent, given = [0.0] * len(sources), [0] * len(sources)
    for source in sources:
        work(source, turn[0])  # it warms up
    for step in turn[1:]:
        for place in range(len(sources))[:: 1 if step % 2 else -1]:
            before, start = bytes_read(), time.perf_counter()
            work(sources[place], step)
            spent[place] += time.perf_counter() - start
            given[place] += bytes_read() - before
    return [(seconds / (len(turn) - 1), size) for seconds, size in zip(spent, given, strict=True)]


def prepared(file: Path, cold: bool) -> np.ndarray:
    """The ids in `file`, none of which are in memory, or all."""
    gc.collect()  # pages that are still mapped would not be dropped
    with open(file, "rb") as stream:
        if cold:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        else:
            while stream.read(2**24):
                pass
    return np.memmap(file, np.uint8, "r")


def bytes_read() -> int:
    """What the disk has given to this process."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes:"))
