"""llama2.c, Llama 2 in one file of C: its model file with random weights, and its `run` as a peer in sampling."""

import atexit
import os
import re
import shutil
import struct
import subprocess
import time
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

import torch
from torch import Tensor

from bench.training_step import VOCABULARY_SIZE, Shape
from bench.workers import Model

LLAMA2C, BOS = "llama2.c", 1  # its run.c stops at that id
POSITIONS = 1024  # its cache does not slide: more than are ever read
THREADS_BY = 64  # ids that are written in each number of threads, to choose


def sample_llama2c(folder: Path, temperature: float, shape: Shape, _: torch.device) -> Model:
    """By `run` as its user compiled it, one sequence, in the number of threads that is fastest for it."""
    files = Path(mkdtemp())
    atexit.register(shutil.rmtree, files)
    parameters = write_llama2c(files, shape)

    def run(length: int, threads: int) -> tuple[int, float]:
        """Ids that came, and seconds by its own clock, from the first id on; by ours where that reads zero."""
        options = ("-z", "tokenizer.bin", "-t", str(temperature), "-p", "1", "-n", str(length))
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        command = (str(folder.resolve() / "run"), "model.bin", *options)
        start = time.perf_counter()
        done = subprocess.run(command, cwd=files, env=environment, capture_output=True, check=True)
        elapsed = time.perf_counter() - start
        speed = re.search(rb"achieved tok/s: ([\d.]+)", done.stderr)
        return len(done.stdout) - 1, length / float(speed[1]) if speed else elapsed

    best = min(range(1, torch.get_num_threads() + 1), key=lambda threads: run(THREADS_BY, threads)[1])
    own = partial(run, threads=best)
    settings = f"fp32 on the CPU, {best} of {torch.get_num_threads()} threads"
    return Model(lambda length: own(length)[0], parameters, settings, lambda length: own(length)[1])


def write_llama2c(folder: Path, shape: Shape) -> int:
    """Write model.bin (`legacy_export` of its export.py) and tokenizer.bin, of one-character tokens.

    Random weights, as many as ours but for the gains of norms. Returns the number of parameters.
    """
    C, L, H, V = shape.width, shape.layers, shape.heads, VOCABULARY_SIZE
    hidden = round(8 * C / 3)  # three matrices in place of two that are 4 C wide

    def matrices(*sizes: int) -> Tensor:
        return torch.randn(sizes) * sizes[-1] ** -0.5

    embedding, output, gains = matrices(V, C), matrices(V, C), torch.ones(L, C)
    embedding[:, 0], output[BOS, 0] = 100, -1000  # no text is long if it may end at any id
    attention = [matrices(L, C, C) for _ in range(4)]
    feed_forward = [matrices(L, hidden, C), matrices(L, C, hidden), matrices(L, hidden, C)]
    weights = [embedding, gains, *attention, gains, *feed_forward, torch.ones(C)]
    unread = torch.zeros(POSITIONS, C // H)  # cosines and sines, which it computes itself
    with (folder / "model.bin").open("wb") as file:
        file.write(struct.pack("7i", C, hidden, L, H, H, -V, POSITIONS))  # -V: the output layer has its own weights
        for each in (*weights, unread, output):
            file.write(each.numpy().tobytes())
    tokens = (struct.pack("fI", 0, 1) + bytes([ord("0") + token]) for token in range(V))
    (folder / "tokenizer.bin").write_bytes(struct.pack("I", 1) + b"".join(tokens))
    return sum(each.numel() for each in (*weights, output))
