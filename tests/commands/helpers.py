"""Both commands as a user runs them, on real text."""

import io
import os
import subprocess
import sys
import sysconfig
from contextlib import chdir, redirect_stderr, redirect_stdout
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

ROOT = Path(__file__).parents[2]
TEXT = f"{sysconfig.get_path('stdlib')}/json/*.py"  # real text that is on every machine
SMALL = ["runtime.device=cpu", "model.layers=2", "model.width=32", "model.context=32", f"data.path={TEXT}"]
SHORT = [*SMALL, "training.steps=60", "training.batch_size=16"]
SHORT += ["training.evaluate_every=30", "training.learning_rate=1e-2"]
TINY = ["runtime.device=cpu", "model.layers=1", "model.width=8", "model.context=16", "board.sample_length=0"]
TINY += ["training.steps=2", f"data.path={TEXT}"]


def run(command: str, *arguments: str, folder: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", ROOT / f"{command}.py", *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class Stream(io.TextIOWrapper):
    """A standard stream in memory, maybe of a terminal."""

    def __init__(self, content: str = "", terminal: bool = False) -> None:
        super().__init__(io.BytesIO(content.encode()), encoding="utf-8", newline="", write_through=True)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def text(self) -> str:
        content: Any = self.buffer
        return bytes(content.getvalue()).decode("utf-8", "surrogateescape")


def call(
    *arguments: str, folder: Path, stdin: str = "", command: str = "train", terminal: bool = False
) -> subprocess.CompletedProcess[str]:
    """`run` in this process, which need not start. Any exception but an exit passes."""
    out, errors = Stream(terminal=terminal), Stream()
    argv = patch.object(sys, "argv", [f"{command}.py", *arguments])
    given = patch.object(sys, "stdin", Stream(stdin))
    code: object = 0
    with chdir(folder), patch.dict(os.environ), argv, given, redirect_stdout(out), redirect_stderr(errors):
        try:
            import_module(command).main()
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, out.text(), errors.text())


def hparams_row(run: Path) -> Any:
    """The settings in a run's row of the HParams tab, by name."""
    content = EventAccumulator(str(run)).Reload().summary_metadata["_hparams_/session_start_info"].plugin_data.content
    return plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams


sample = partial(call, command="sample")
