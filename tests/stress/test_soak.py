"""A long run with all logging on does not grow: its memory and its open files, watched from outside."""

import os
import statistics
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.process import Process
from tests.stress.conftest import STEPS
from tests.stress.process import EVALUATED, start

STRETCHES = 50  # each with an evaluation and a sample, pictures, two checkpoints and four snapshots of attention
SETTLED = 0.1, 0.2  # share of the steps in which memory has become what it should stay
END = 0.9  # share from which on it is compared with that
LARGEST_GROWTH = 0.05  # of memory
SHORT, LONG = pytest.param(600, marks=pytest.mark.slow), pytest.param(STEPS, marks=pytest.mark.stress)  # steps


class Usage(NamedTuple):
    """Use of resources at one moment."""

    step: int  # of the latest evaluation
    memory: int  # resident bytes
    files: int  # open


def watch(process: Process, interval: float) -> list[Usage]:
    """Its usage every `interval` seconds until it ends."""
    usages, directory = [], Path("/proc") / str(process.popen.pid)
    while (code := process.exit_code(interval)) is None:
        with suppress(OSError, IndexError):  # it has just ended
            memory = int((directory / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
            files = len(os.listdir(directory / "fd"))
            steps = EVALUATED.findall(process.output())
            if memory and files:  # both are 0 between its end and our waiting for it
                usages.append(Usage(int(steps[-1]) if steps else 0, memory, files))
    assert code == 0, process.errors()[-500:]
    return usages


def medians(usages: Sequence[Usage], first: float, last: float) -> tuple[float, float]:
    """Memory and open files from step `first` to before `last`."""
    within = [usage for usage in usages if first <= usage.step < last]
    return statistics.median(usage.memory for usage in within), statistics.median(usage.files for usage in within)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc, which Linux has")
@pytest.mark.parametrize("steps", [SHORT, LONG])
def test_memory_and_open_files_stay_as_they_are(
    steps: int, text: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    stretch = max(20, steps // STRETCHES)
    logging = {"training.evaluate_every": 1, "board.pictures_every": 1, "training.checkpoint_every": 2}
    cadences = [f"{name}={stretch // often}" for name, often in (logging | {"board.attention_every": 4}).items()]
    settings = [*cadences, f"data.path={text}", f"training.steps={steps}", f"hydra.run.dir={tmp_path / 'run'}"]
    with closing(start([*settings, "data.validation_fraction=0.01"])) as process:
        usages = watch(process, interval=min(1.0, steps / 10_000))
    memory, files = medians(usages, SETTLED[0] * steps, SETTLED[1] * steps)
    memory_at_end, files_at_end = medians(usages, END * steps, steps)
    growth = memory_at_end / memory - 1
    record_property(
        "soak", f"{steps:,} steps, memory grew by {growth:.2%}, open files from {files:g} to {files_at_end:g}"
    )
    assert growth < LARGEST_GROWTH
    assert files_at_end <= files
