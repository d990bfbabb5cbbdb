"""`python train.py` as a process watched from outside, and a reference run for others to end like."""

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from signal import SIGKILL
from tempfile import TemporaryFile

from tests.stress.compare import differences, saved_at

ROOT = Path(__file__).parents[2]
TINY = (
    "model.layers=2 model.heads=2 model.width=16 model.context=16 training.batch_size=4 runtime.device=cpu "
    "board.sample_length=50"
)
LOGGING = (
    "training.steps=1500 training.evaluate_every=150 training.checkpoint_every=20 board.attention_every=20 "
    "board.pictures_every=50"
)
EVALUATED = re.compile(r"step +(\d+)/.* nats/char \(")  # the line of each evaluation
PATIENCE = 120  # seconds that anything may take on a busy machine


def write_text(file: Path) -> None:
    """About 100 kB of lines of made-up words, the same each time."""
    chance = random.Random(0)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(1, 9))) for _ in range(500)]
    lines = (" ".join(chance.choices(words, k=chance.randint(1, 3))) for _ in range(8000))
    file.write_text("\n".join(lines), encoding="utf-8")


class Process:
    """`python train.py` with `settings`, in one thread, run by the command `within`; to be closed."""

    def __init__(self, settings: Sequence[str], within: Sequence[str] = ()) -> None:
        self._out, self._err = TemporaryFile(), TemporaryFile()  # noqa: SIM115 - open as long as the process
        self.popen = subprocess.Popen(
            [*within, sys.executable, str(ROOT / "train.py"), *TINY.split(), *settings],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            env=os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the parent alone
        )

    def output(self) -> str:
        """Standard output so far."""
        return os.pread(self._out.fileno(), 2**22, 0).decode()

    def errors(self) -> str:
        """Standard error so far."""
        return os.pread(self._err.fileno(), 2**22, 0).decode()

    def exit_code(self, seconds: float = 0) -> int | None:
        """Wait for its end for so many seconds. None if it still runs."""
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(seconds)
        return self.popen.returncode

    def until(self, happened: Callable[[], bool]) -> None:
        """Poll as often as can be, until it has happened, the process has ended, or PATIENCE has."""
        patience = time.monotonic() + PATIENCE
        while self.exit_code(0.0002) is None and not happened() and time.monotonic() < patience:
            pass

    def wait_for(self, pattern: str | re.Pattern[str]) -> None:
        """Wait until its output matches. Raises AssertionError if it never does."""
        self.until(lambda: re.search(pattern, self.output()) is not None)
        assert re.search(pattern, self.output()), f"{pattern} not in {self.output()[-500:]!r} {self.errors()[-500:]!r}"

    def assert_ends(self, code: int = 0) -> None:
        """Wait for its end: a mistake, exit code 2, is one line on standard error, and nothing is a traceback."""
        found, errors = self.exit_code(PATIENCE), self.errors()
        assert found == code, f"expected exit code {code}, got {found}: {errors[-500:]!r}"
        assert "Traceback" not in errors, errors
        assert code != 2 or errors.count("\n") == 1, errors

    def kill(self) -> bool:
        """SIGKILL. Returns False if it had ended by itself before."""
        self.popen.kill()
        return self.popen.wait() == -SIGKILL

    def close(self) -> None:
        self.kill()
        self._out.close()
        self._err.close()


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
        process = Process([*self._settings, "resume=auto", f"hydra.run.dir={run}"], within)
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
