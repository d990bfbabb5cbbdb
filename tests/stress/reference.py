"""A run that nothing disturbs, and others with the same settings that are to end like it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tests.stress.compare import differences, saved_at
from tests.stress.process import EVALUATED, PATIENCE, TINY, Process

LOGGING = (
    "training.steps=1500 training.evaluate_every=150 training.checkpoint_every=20 model.context=16 "
    "board.attention_every=20 board.pictures_every=50 board.sample_length=50"
)


def assert_ends(process: Process, code: int = 0) -> None:
    """Wait for its end: a mistake, exit code 2, is one line on standard error, and nothing is a traceback."""
    found, errors = process.exit_code(PATIENCE), process.errors()
    assert found == code, f"expected exit code {code}, got {found}: {errors[-500:]!r}"
    assert "Traceback" not in errors, errors
    assert code != 2 or errors.count("\n") == 1, errors


class Reference:
    """The undisturbed run, and how long it took to its first checkpoint (`starting`) and from there (`training`)."""

    def __init__(self, settings: Sequence[str], text: Path, folder: Path, processes: ExitStack) -> None:
        self._settings = [*TINY, *LOGGING.split(), f"data.path={text}", *settings]
        self._processes = processes  # closes them all
        self.run = folder
        began = time.monotonic()
        process = self.start(self.run)
        process.until(lambda: saved_at(self.run) > 0)
        self.starting = time.monotonic() - began
        assert_ends(process)
        self.training = time.monotonic() - began - self.starting

    def start(self, run: Path, within: Sequence[str] = ()) -> Process:
        """Begin the run in the folder `run`, or resume it."""
        process = Process([*self._settings, "resume=auto", f"hydra.run.dir={run}"], within)
        return self._processes.enter_context(closing(process))

    def start_and_evaluate(self, run: Path, within: Sequence[str] = ()) -> Process:
        """Begin the run, and wait for its first evaluation."""
        process = self.start(run, within)
        process.wait_for(EVALUATED)
        return process

    def assert_resumes(self, run: Path) -> None:
        """Resume it to its end, where nothing may differ."""
        process = self.start(run)
        assert_ends(process)
        assert "resumed" in process.output()
        assert differences(run, self.run) == []


@contextmanager
def reference(settings: Sequence[str], text: Path, folder: Path) -> Iterator[Reference]:
    """Train it in `folder`. At the end, what it has started is killed."""
    with ExitStack() as processes:
        yield Reference(settings, text, folder, processes)
