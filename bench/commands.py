"""train.py and sample.py as users run them, timed from outside: the same for any commit and any number of processes."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from string import ascii_letters, digits
from tempfile import TemporaryFile
from threading import Timer
from typing import Any

from bench.harness import ROOT
from bench.training_step import VOCABULARY_SIZE, Shape

STEPS, GPU_FACTOR = {"small": 200, "baby_gpt": 20}, 10
CHARACTERS = (ascii_letters + digits + " .,")[:VOCABULARY_SIZE]


class RunFailedError(Exception):
    """A process that was measured failed: its last lines."""


@dataclass(frozen=True)
class Command:
    """Seconds from the start of a process to the first and last byte of its standard output, and to its end."""

    first_byte: float
    last_byte: float
    ended: float
    output: bytes
    peak_memory: int  # largest resident set, as the system counts it: in KiB on Linux, in bytes on macOS
    stopped: bool  # before its end, as its time was over


def run_command(
    *arguments: str,
    checkout: Path = ROOT,
    folder: Path | None = None,
    watch: Callable[[bytes], object] = len,
    environment: Mapping[str, str] = {},
    seconds: float | None = None,
) -> Command:
    """Run `python ARGUMENTS` with the modules of a checkout, in `folder` or there. `watch` gets its output as it comes.

    After so many `seconds` it is stopped, with the processes that it has started. Raises RunFailedError with its last
    lines if it fails or writes nothing.
    """
    start, moments, output = time.perf_counter(), list[float](), b""
    with (
        TemporaryFile() as errors,
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder or checkout,
            env={**os.environ, "PYTHONPATH": str(checkout), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=seconds is not None,
        ) as process,
    ):
        assert process.stdout is not None
        timer = Timer(seconds or 0, os.killpg, (process.pid, SIGKILL))
        if seconds is not None:
            timer.start()
        try:
            while chunk := os.read(process.stdout.fileno(), 2**16):
                moments.append(time.perf_counter() - start)
                output += chunk
                watch(chunk)
        except BaseException:  # Ctrl-C, which does not reach a session of its own
            if seconds is not None:
                os.killpg(process.pid, SIGKILL)
            raise
        finally:
            timer.cancel()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        ended = time.perf_counter() - start
        errors.seek(0)
        last = "\n".join((errors.read() or output).decode(errors="replace").splitlines()[-20:])
    stopped = seconds is not None and ended >= seconds and process.returncode == -SIGKILL
    if not stopped and (process.returncode or not moments):
        raise RunFailedError(f"{' '.join(arguments)}: exit code {process.returncode}: {last}")
    first, final = (moments[0], moments[-1]) if moments else (ended, ended)
    return Command(first, final, ended, output, usage.ru_maxrss, stopped)


def random_text(file: Path, length: int = 100_000) -> Path:
    file.write_text("".join(random.Random(0).choices(CHARACTERS, k=length)), encoding="utf-8")
    return file


def train(
    run: Path,
    text: Path,
    device: str,
    shape: Shape,
    steps: int,
    *,
    processes: int = 1,
    environment: Mapping[str, str] = {},
    checkout: Path = ROOT,
) -> tuple[Command, dict[str, Any]]:
    """Train with Muon and rotary positions, evaluated and shown once, at the end; returns summary.json as well.

    Raises RunFailedError if it fails.
    """
    sizes = {"layers": shape.layers, "heads": shape.heads, "width": shape.width, "context": shape.context}
    settings = [
        *(f"hydra.run.dir={run}", f"data.path={text}", f"runtime.device={device}", "model.position=rotary"),
        "model.attention=[multi]",
        *(f"model.{name}={size}" for name, size in sizes.items()),
        *("training.optimizer=muon", f"training.batch_size={shape.batch}", f"training.steps={steps}"),
        *(f"training.evaluate_every={steps}", f"board.attention_every={steps}", f"board.pictures_every={steps}"),
        "board.sample_length=0",
    ]
    launcher = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}") if processes > 1 else ()
    command = run_command(*launcher, "train.py", *settings, checkout=checkout, environment=environment)
    return command, summary_of(run)


def steps_of(name: str, device: str, quick: bool) -> int:
    """Steps of a run at the shape of that name: it takes seconds."""
    return 4 if quick else STEPS[name] * (GPU_FACTOR if device == "cuda" else 1)


def summary_of(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "summary.json").read_text(encoding="utf-8")))
