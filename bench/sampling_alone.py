"""What is measured of this project alone: late ids beside early ones, the limit, how soon sample.py writes."""

import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from bench.machine import Protocol, finish, median_seconds
from bench.samplers import WARM_UP, written
from bench.sampling_report import Late, Limit, StartUp
from bench.stopwatch import ROOT, RunFailedError
from bench.throughput import ratio
from bench.throughput_report import Spread
from model.decoder import Decoder
from sampling.generate import overlap
from sampling.kv_cache import KVCache
from sampling.packing import PackedLinear
from training.checkpoint import find_checkpoint, load_checkpoint


def stretch(middle: int, context: int) -> tuple[int, int]:
    """The first and the last id, counted from 1, of as many around `middle` as from one reading again to the next."""
    period = context - overlap(context) + 1
    first = middle - period // 2
    return first, first + period - 1


def mean_seconds(ids: Iterator[object], stretches: Sequence[tuple[int, int]], device: torch.device) -> list[float]:
    """An id's in each stretch of one sequence; they come in order."""
    means, done = [], 0
    for first, last in stretches:
        exhaust(islice(ids, first - 1 - done))
        finish(device)
        start = time.perf_counter()
        exhaust(islice(ids, last - first + 1))
        finish(device)
        means.append((time.perf_counter() - start) / (last - first + 1))
        done = last
    return means


def exhaust(ids: Iterator[object]) -> None:
    deque(ids, maxlen=0)


def find_late(decoder: Decoder, early_id: int, late_id: int, rounds: int) -> Late:
    """What the late id costs beside the early one."""
    device = decoder.embedding.weight.device
    early, late = (stretch(middle, decoder.config.context) for middle in (early_id, late_id))
    exhaust(islice(written(decoder), WARM_UP))
    seconds = []
    for _ in tqdm(range(rounds), desc=f"{late[1]:,} ids", unit="run", disable=None):
        first, second = mean_seconds(written(decoder), (early, late), device)
        seconds.append((first, second))
    return Late(early, late, seconds, Spread.of([second / first for first, second in seconds]))


def find_limit(decoder: Decoder, reading: Protocol) -> Limit:
    """How fast one sequence could be written if reading took all the time."""
    weight = decoder.embedding.weight
    maps = [module.weight for module in decoder.modules() if isinstance(module, nn.Linear | PackedLinear)]
    weights = sum(matrix.numel() * matrix.dtype.itemsize for matrix in maps)
    stores = [
        store for layer in KVCache(decoder.config, 1, decoder.config.context, weight).layers for store in layer.stores
    ]
    cached = sum(store.numel() * store.dtype.itemsize for store in stores)
    read = torch.ones(weights // 4, device=weight.device)
    rate = 4 * len(read) / median_seconds(read.sum, weight.device, reading)
    return Limit(weights, cached, rate, rate / (weights + cached))


def find_start_up(named: Path, turns: int) -> StartUp:
    """Raises UserError for no checkpoint, RunFailedError if a process says nothing."""
    file = find_checkpoint(str(named)).resolve()
    model = load_checkpoint(file).model
    commands = ["-c", "import torch; print(flush=True)"], ["sample.py", f"checkpoint={file}", "length=1"]
    progress = tqdm(range(1 + turns), desc="start-up", unit="turn", disable=None)
    seconds = [[first_output_seconds(command) for command in commands] for _ in progress]
    import_torch, sample = zip(*seconds[1:], strict=True)
    return StartUp(
        f"{model.layers} layers, width {model.width}, context {model.context}",
        Spread.of(import_torch),
        Spread.of(sample),
        ratio(import_torch, sample),
        turns,
    )


def first_output_seconds(arguments: Sequence[str]) -> float:
    """From the start of a process of Python to its first byte of output. Raises RunFailedError if there is none."""
    start = time.perf_counter()
    command = [sys.executable, *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        seconds = time.perf_counter() - start
        _, errors = process.communicate()
    if process.returncode or not first:
        last = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise RunFailedError(f"{' '.join(arguments)}: expected output, got exit code {process.returncode}: {last}")
    return seconds
