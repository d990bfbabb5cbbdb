"""A reference run of `train.py`, for others to end like."""

import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tests.conftest import ROOT
from tests.process import Process
from tests.stress.compare import differences, saved_at

TINY = (
    "model.layers=2 model.heads=2 model.width=16 model.context=16 training.batch_size=4 runtime.device=cpu "
    "board.sample_length=50"
)
LOGGING = (
    "training.steps=1500 training.evaluate_every=150 training.checkpoint_every=20 board.attention_every=20 "
    "board.pictures_every=50"
)
EVALUATED = re.compile(r"step +(\d+)/.* nats/char \(")  # the line of each evaluation


def write_text(file: Path) -> None:
    """About 100 kB of lines of made-up words, the same each time."""
    chance = random.Random(0)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(1, 9))) for _ in range(500)]
    lines = (" ".join(chance.choices(words, k=chance.randint(1, 3))) for _ in range(8000))
    file.write_text("\n".join(lines), encoding="utf-8")


def start(settings: Sequence[str], within: Sequence[str] = ()) -> Process:
    """`python train.py` with `settings`, in one thread, run by the command `within`."""
    return Process([str(ROOT / "train.py"), *TINY.split(), *settings], within=within, OMP_NUM_THREADS="1")


class Reference:
    """An undisturbed run, and how long it took to its first checkpoint (`starting`) and from there (`training`)."""

    def __init__(self, settings: Sequence[str], folder: Path, processes: ExitStack) -> None:
        self._settings, self._processes, self.run = [*LOGGING.split(), *settings], processes, folder
        began = time.monotonic()
        process = self.start(self.run)
        process.until(lambda: saved_at(self.run) > 0)
        self.starting = time.monotonic() - began
        process.assert_ends()
        self.training = time.monotonic() - began - self.starting

    def start(self, run: Path, within: Sequence[str] = ()) -> Process:
        """Begin a run with the same settings in the folder `run`, or resume it."""
        process = start([*self._settings, "resume=auto", f"hydra.run.dir={run}"], within)
        return self._processes.enter_context(closing(process))

    def start_and_evaluate(self, run: Path, within: Sequence[str] = ()) -> Process:
        """Begin a run, and wait for its first evaluation."""
        process = self.start(run, within)
        process.wait_for(EVALUATED)
        return process

    def assert_resumes(self, run: Path) -> None:
        """Resume it to its end, where nothing may differ."""
        process = self.start(run)
        process.assert_ends()
        assert "resumed" in process.output()
        assert differences(run, self.run) == []


@contextmanager
def reference(settings: Sequence[str], folder: Path) -> Iterator[Reference]:
    """Train it in `folder`. At the end, everything it has started is killed."""
    with ExitStack() as processes:
        yield Reference(settings, folder, processes)
