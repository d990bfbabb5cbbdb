"""Both commands as a user runs them, on real text."""

import io
import os
import subprocess
import sys
import sysconfig
from contextlib import chdir, redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).parents[2]
TEXT = f"{sysconfig.get_path('stdlib')}/json/*.py"  # real text that is on every machine
SMALL = ["runtime.device=cpu", "model.layers=2", "model.width=32", "model.context=32", f"data.path={TEXT}"]
SHORT = [*SMALL, "training.steps=60", "training.batch_size=16", "training.evaluate_every=30"]
SHORT += ["training.learning_rate=1e-2"]
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


def call(*arguments: str, folder: Path, stdin: str = "", command: str = "train") -> subprocess.CompletedProcess[str]:
    """`run` in this process, which need not start. Any exception but an exit passes."""
    out, err = (
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True)
        for _ in range(2)
    )
    argv = patch.object(sys, "argv", [f"{command}.py", *arguments])
    given = patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
    code: object = 0
    with chdir(folder), patch.dict(os.environ), argv, given, redirect_stdout(out), redirect_stderr(err):
        try:
            import_module(command).main()
        except SystemExit as end:
            code = end.code
    texts = [stream.buffer.getvalue().decode() for stream in (out, err)]
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, *texts)
