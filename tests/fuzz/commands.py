"""Both commands with all that they do to a command line, around a main that only notes what it got."""

import io
import os
import runpy
import sys
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import cli.command
from cli.command import Decorator, Main
from training.run_folder import LOCK

ROOT = Path(__file__).parents[2]
RUN = Path("runs/laptop/earlier/checkpoints/last.safetensors")  # is there before each command


@dataclass(frozen=True)
class Ended:
    """Outcome of a command line."""

    code: object
    errors: str
    configs: list[Any]  # that main got, one for each job
    left: set[str]  # files, seen from above the working directory, but for RUN and locks


def _decorators() -> dict[str, Decorator]:
    """Those of both scripts, without the table at the end of a sweep: main leaves nothing to compare."""
    found: dict[str, Decorator] = {}
    real = cli.command.command

    def noted(name: str, **options: Any) -> Callable[[object], object]:
        found[name] = lambda main: real(name, **options | {"after_sweep": None})(main)
        return lambda main: main

    with patch("cli.command.command", noted):
        for name in ("train", "sample"):
            runpy.run_path(str(ROOT / f"{name}.py"))
    return found


DECORATORS = _decorators()


def run(name: str, arguments: list[str], main: Main | None = None) -> Ended:
    """`python NAME.py ARGUMENTS` in a new folder, which is also the home. Any exception but an exit passes."""
    configs: list[Any] = []
    command = DECORATORS[name](main or (lambda config, _: configs.append(config)))
    raw = io.BytesIO()
    errors = io.TextIOWrapper(raw, encoding="ascii")
    with TemporaryDirectory() as above, chdir(above):
        folder = Path(above, "here")
        (folder / RUN).parent.mkdir(parents=True)
        (folder / RUN).touch()
        environment = patch.dict(os.environ, {"HOME": str(folder)})
        argv = patch.object(sys, "argv", [f"{name}.py", *arguments])
        with chdir(folder), environment, argv, redirect_stdout(io.TextIOWrapper(io.BytesIO())), redirect_stderr(errors):
            code: object = None
            try:
                command()
            except SystemExit as stopped:
                code = stopped.code
        errors.flush()
        files = {file.relative_to(above) for file in Path(above).rglob("*") if not file.is_dir()}
    left = {str(file) for file in files - {Path("here", RUN)} if file.name != LOCK}
    return Ended(code, raw.getvalue().decode(), configs, left)
