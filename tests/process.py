"""A Python program as a process that is watched from outside."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from tempfile import TemporaryFile

PATIENCE = 120  # seconds that anything may take on a busy machine


class Process:
    """Python with `arguments`, run in `folder` by the command `within`; to be closed."""

    def __init__(
        self, arguments: Sequence[str], folder: Path | None = None, within: Sequence[str] = (), **environment: str
    ) -> None:
        self._out, self._err = TemporaryFile(), TemporaryFile()  # noqa: SIM115 - open as long as the process
        self.popen = subprocess.Popen(
            [*within, sys.executable, "-W", "error", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | environment,
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
