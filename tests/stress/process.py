"""`python train.py` as a process that is watched from outside."""

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, Signals
from tempfile import TemporaryFile

ROOT = Path(__file__).parents[2]
TINY = ("model.layers=2", "model.heads=2", "model.width=16", "training.batch_size=4", "runtime.device=cpu")
EVALUATED = re.compile(r"step +(\d+)/.* nats/char \(")  # the line of each evaluation
LONGEST_OUTPUT = 2**22  # bytes
PATIENCE = 120  # seconds that anything may take on a busy machine


def write_text(file: Path) -> None:
    """About 100 kB of lines of made-up words, the same each time."""
    chance = random.Random(0)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(1, 9))) for _ in range(500)]
    lines = (" ".join(chance.choices(words, k=chance.randint(1, 3))) for _ in range(8000))
    file.write_text("\n".join(lines), encoding="utf-8")


class Process:
    """`python train.py` with `settings`, in one thread; to be closed."""

    def __init__(self, settings: Sequence[str], within: Sequence[str] = ()) -> None:
        """`within`: a command that runs it."""
        self._out, self._err = TemporaryFile(), TemporaryFile()  # noqa: SIM115 - open as long as the process
        self._process = subprocess.Popen(
            [*within, sys.executable, str(ROOT / "train.py"), *settings],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            env=os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the parent alone
        )
        self.id = self._process.pid

    def output(self) -> str:
        """Standard output so far."""
        return os.pread(self._out.fileno(), LONGEST_OUTPUT, 0).decode()

    def errors(self) -> str:
        """Standard error so far."""
        return os.pread(self._err.fileno(), LONGEST_OUTPUT, 0).decode()

    def exit_code(self, seconds: float = 0) -> int | None:
        """Wait for its end for so many seconds. None if it still runs."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode

    def until(self, happened: Callable[[], bool]) -> None:
        """Poll as often as can be, until it has happened, the process has ended, or PATIENCE has."""
        patience = time.monotonic() + PATIENCE
        while self.exit_code(0.0002) is None and not happened() and time.monotonic() < patience:
            pass

    def wait_for(self, pattern: str | re.Pattern[str]) -> None:
        """Wait until its output matches. Raises AssertionError if it never does."""
        self.until(lambda: re.search(pattern, self.output()) is not None)
        expected = f"expected {pattern!r}, got {self.output()[-500:]!r} {self.errors()[-500:]!r}"
        assert re.search(pattern, self.output()), expected

    def send(self, number: Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> bool:
        """SIGKILL. Returns whether that ended it, and not it itself before."""
        self._process.kill()
        return self._process.wait() == -SIGKILL

    def close(self) -> None:
        self.kill()
        self._out.close()
        self._err.close()
