"""Whether a long run grows: its memory and its open files, watched from outside.

    python -m bench.soak [--steps N] [--output bench/results]

A tiny model in a real `train.py`, with all logging on: each stretch of `STRETCHES` has an evaluation with a sample,
pictures, two checkpoints and four snapshots of attention. What holds at its end is said by the exit code.
"""

import argparse
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import SIGKILL, Signals
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING

import torch

from bench.peers import commit
from bench.report import keep, table, where
from bench.stopwatch import ROOT, RunFailedError
from training.device import machine

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TINY = ("model.layers=2", "model.heads=2", "model.width=16", "training.batch_size=4", "runtime.device=cpu")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # two wait for each other, and as good as forever on a busy machine
EVALUATED = re.compile(r"step +(\d+)/.* nats/char \(")  # the line of each evaluation
LONGEST_OUTPUT = 2**22  # bytes
PATIENCE = 120  # seconds that anything may take on a busy machine
STEPS, STRETCHES = 50_000, 50
SETTLED = 0.1, 0.2  # the share of the steps in which memory has become what it should stay
END = 0.9  # from which share on it is compared with that
LARGEST_GROWTH = 0.05  # of memory


def write_text(file: Path) -> None:
    """About 100 kB of lines of made-up words, the same each time."""
    chance = random.Random(0)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(1, 9))) for _ in range(500)]
    lines = (" ".join(chance.choices(words, k=chance.randint(1, 3))) for _ in range(8000))
    file.write_text("\n".join(lines), encoding="utf-8")


class Process:
    """`python train.py` with `settings`, and what it says, to be read at any time; to be closed."""

    def __init__(self, settings: Sequence[str], within: Sequence[str] = ()) -> None:
        """`within`: a command that is to run it."""
        self._out, self._err = TemporaryFile(), TemporaryFile()  # noqa: SIM115 - open as long as the process
        self._process = subprocess.Popen(
            [*within, sys.executable, str(ROOT / "train.py"), *settings],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | ONE_THREAD,
            start_new_session=True,  # Ctrl-C is for the parent alone
        )
        self.id = self._process.pid

    def said(self) -> str:
        """What it has printed so far."""
        return os.pread(self._out.fileno(), LONGEST_OUTPUT, 0).decode()

    def errors(self) -> str:
        return os.pread(self._err.fileno(), LONGEST_OUTPUT, 0).decode()

    def exit_code(self, seconds: float = 0) -> int | None:
        """How it ended, within so many seconds; None if it goes on."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait until it has, as closely as can be, or the process has ended."""
        while self.exit_code(0.0002) is None and not happened():
            pass

    def wait_for(self, pattern: str | re.Pattern[str]) -> None:
        """Wait until it says what matches. Raises RunFailedError if it does not."""
        patience = time.monotonic() + PATIENCE
        self.until(lambda: re.search(pattern, self.said()) is not None or time.monotonic() > patience)
        if not re.search(pattern, self.said()):
            raise RunFailedError(f"expected {pattern!r}, got {self.said()[-500:]!r} {self.errors()[-500:]!r}")

    def send(self, number: Signals) -> None:
        self._process.send_signal(number)

    def killed(self) -> bool:
        """End it at once. Returns whether it had not ended by itself."""
        self._process.kill()
        return self._process.wait() == -SIGKILL

    def close(self) -> None:
        self.killed()
        self._out.close()
        self._err.close()


@dataclass(frozen=True)
class Sample:
    """What the system says of the process at one moment."""

    seconds: float  # since its start
    step: int  # of the latest evaluation
    resident: int  # bytes of memory
    files: int  # open


def watch(process: Process, interval: float) -> list[Sample]:
    """A sample every `interval` seconds, until the process ends. Raises RunFailedError if it fails."""
    samples, started, of_it = [], time.monotonic(), Path("/proc") / str(process.id)
    while (code := process.exit_code(interval)) is None:
        with suppress(OSError, IndexError):  # it has just ended
            resident = int((of_it / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
            files = len(os.listdir(of_it / "fd"))
            steps = EVALUATED.findall(process.said())
            if resident and files:  # of one that has ended and is yet to be waited for, nothing is left
                samples.append(Sample(time.monotonic() - started, int(steps[-1]) if steps else 0, resident, files))
    if code:
        raise RunFailedError(f"expected a training run, got exit code {code}: {process.errors()[-500:]}")
    return samples


@dataclass(frozen=True)
class Verdict:
    """Medians of what a run takes when it has settled, and at its end."""

    resident: tuple[float, float]  # bytes of memory
    files: tuple[float, float]

    @property
    def growth(self) -> float:
        """Of memory, as a share."""
        return self.resident[1] / self.resident[0] - 1

    @property
    def holds(self) -> bool:
        return self.growth < LARGEST_GROWTH and self.files[1] <= self.files[0]


def judge(samples: Sequence[Sample], steps: int) -> Verdict:
    """Compare the end of a run of so many `steps` with when it had settled. Both need samples."""
    settled = [sample for sample in samples if SETTLED[0] * steps <= sample.step < SETTLED[1] * steps]
    end = [sample for sample in samples if END * steps <= sample.step < steps]
    resident, files = (
        tuple(statistics.median(getattr(sample, name) for sample in part) for part in (settled, end))
        for name in ("resident", "files")
    )
    return Verdict((resident[0], resident[1]), (files[0], files[1]))


@dataclass(frozen=True)
class Findings:
    """What soak_cpu.json holds."""

    machine: dict[str, str | int]
    commit: str  # of this checkout, or why there is none
    steps: int
    verdict: Verdict
    growth: float
    holds: bool
    samples: list[Sample]
    trial: bool  # of the command itself: fewer steps


def find(steps: int, folder: Path) -> Findings:
    """Train once in `folder`."""
    revision = commit(ROOT)  # as it was at the start
    write_text(folder / "text.txt")
    stretch = max(4, steps // STRETCHES)
    logging = {"training.evaluate_every": 1, "board.pictures_every": 1, "training.checkpoint_every": 2}
    cadences = [f"{name}={stretch // often}" for name, often in (logging | {"board.attention_every": 4}).items()]
    settings = [f"data.path={folder / 'text.txt'}", "data.validation_fraction=0.01", "model.context=16", *cadences]
    given = [*TINY, *settings, "board.sample_length=50", f"training.steps={steps}", f"hydra.run.dir={folder / 'run'}"]
    with closing(Process(given)) as process:
        samples = watch(process, interval=min(1.0, steps / 10_000))
    verdict = judge(samples, steps)
    found_on, trial = machine(torch.device("cpu")) | {"threads": 1}, steps < STEPS
    return Findings(found_on, revision, steps, verdict, verdict.growth, verdict.holds, samples, trial)


def markdown(found: Findings) -> str:
    """What soak_cpu.md holds."""
    trial = "**A trial of the command: a run this short says little.**\n\n"
    verdict = found.verdict
    settled, end = (f"{size / 2**20:.1f} MiB" for size in verdict.resident)
    rows = [
        {"": "resident memory", "settled": settled, "at the end": end, "grown": f"{100 * found.growth:.2f} %"},
        {"": "open files", "settled": f"{verdict.files[0]:g}", "at the end": f"{verdict.files[1]:g}", "grown": ""},
    ]
    return f"""# A long run

{trial if found.trial else ""}{where(found.machine, "cpu")}.
Charscope: commit {found.commit}.

{found.steps:,} steps of a tiny model with all logging on, in {found.samples[-1].seconds:.0f} s, watched from outside
({len(found.samples)} times). Medians, settled: between {SETTLED[0]:.0%} and {SETTLED[1]:.0%} of the steps; at the end:
the last {1 - END:.0%}. LayerCache may grow by less than {LARGEST_GROWTH:.0%}, open files not at all:
**{"held" if found.holds else "missed"}**.

{table(rows)}
"""


def plot(found: Findings) -> "Figure":
    """LayerCache and open files over the run. Raises ModuleNotFoundError without matplotlib."""
    from matplotlib.figure import Figure  # measuring does without it

    figure = Figure(figsize=(9, 4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    seconds = [sample.seconds for sample in found.samples]
    above.plot(seconds, [sample.resident / 2**20 for sample in found.samples], color="#0072B2")
    above.set(ylabel="resident memory, MiB", ylim=(0, None), title=f"{found.steps:,} steps with all logging on")
    below.plot(seconds, [sample.files for sample in found.samples], color="#D55E00")
    below.set(ylabel="open files", xlabel="seconds since the start", ylim=(0, None))
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help="fewer to try the command itself")
    parser.add_argument("--output", type=Path, default=Path("bench/results"), metavar="FOLDER")
    options = parser.parse_args(argv)
    if options.steps < 20 * STRETCHES:
        parser.error(f"--steps: expected at least {20 * STRETCHES}, got {options.steps}")
    if not Path("/proc/self/statm").exists():
        parser.error("expected Linux, whose /proc tells what a process takes")
    with TemporaryDirectory() as folder:
        found = find(options.steps, Path(folder))
    keep(options.output, "soak_cpu", asdict(found), markdown(found), lambda: plot(found))
    sys.exit(0 if found.holds else 1)


if __name__ == "__main__":
    main()
