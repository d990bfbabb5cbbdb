"""Sweeps: what is checked before the first job, and what jobs in other processes need and report."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.types import RunMode
from omegaconf import DictConfig

from cli.compose import compose, typed
from cli.mistakes import MISTAKES, describe
from cli.overrides import names, parse
from conf.schema import CONF
from errors import UserError
from terminal import command_line, relative
from training.run import AUTO
from training.run_folder import make_folder, remove_empty


def prepare_sweep(command: str, base: DictConfig, arguments: Sequence[str]) -> Path:
    """The folder of a sweep, after which its jobs can run, also in other processes. Raises UserError at a mistake."""
    named = bool({"hydra.sweep.dir", "hydra.run.dir"}.intersection(names(arguments)))
    if base.resume is not None and not (named and base.resume == AUTO):
        expected = "one run, or a sweep with resume=auto hydra.sweep.dir=FOLDER, the folder of the sweep"
        raise UserError(f"resume: expected {expected}, got a sweep with resume={base.resume}")
    if problems := sweep_problems(command, base, arguments):
        raise UserError("; ".join(problems))
    # Jobs inherit that they print in any script, and where this program lies.
    os.environ["PYTHONIOENCODING"] = "utf-8:backslashreplace"
    path = [str(Path(CONF).parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    folder = Path(base.hydra.sweep.dir)
    if not named:
        return make_folder(folder)
    take_failures(folder)  # of a sweep that was killed there
    return folder


@contextmanager
def reported(sweep: Path, after_sweep: Callable[[Path], None] | None) -> Iterator[None]:
    """Around the jobs of the sweep in this folder: says what became of it, and how to go on where it is stopped."""
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        again = [each for each in sys.argv[1:] if not each.startswith(("resume=", "hydra.sweep.dir="))]
        again += ["resume=auto", f"hydra.sweep.dir={relative(sweep)}"]
        print("to go on with the sweep: ", command_line("python", "train.py", *again))
        raise
    finally:
        if after_sweep:
            after_sweep(sweep)
    if failures := take_failures(sweep):
        raise UserError("; ".join(failures))


def sweep_problems(command: str, base: DictConfig, arguments: Sequence[str]) -> list[str]:
    """Everything wrong with each swept value, beside the first values of the others. `base` is without them."""
    params = base.hydra.sweeper.get("params") or {}  # of a preset that is a sweep
    overrides = {each.get_key_element(): each for each in parse([*(f"{k}={v}" for k, v in params.items()), *arguments])}
    fixed = [each.input_line or "" for each in overrides.values() if not each.is_sweep_override()]
    swept = {  # without ranges that have no steps, and so no values
        name: [f"{name}={value}" for value in each.sweep_string_iterator()]
        for name, each in overrides.items()
        if each.is_discrete_sweep()
    }
    first = {name: values[0] for name, values in swept.items()}
    jobs = [first, *({**first, name: value} for name, values in swept.items() for value in values[1:])]
    found: list[str] = []
    for job in jobs:
        try:
            composed = compose(command, [*fixed, *job.values()])
            found += typed(composed).problems()
        except MISTAKES as mistake:
            found.append(describe(mistake, command))
            continue
        if composed.data.path == "-":
            found.append("data.path: expected a file that each job of a sweep can read, got -; type data.path=FILE")
        if composed.data.validation_fraction == 0 and composed.hydra.runtime.choices["hydra/sweeper"] != "basic":
            found.append("data.validation_fraction: expected more than 0 for a search by validation loss, got 0")
        if len(swept.get("experiment", ())) > 1 and composed.hydra.mode == RunMode.MULTIRUN:
            preset = composed.hydra.runtime.choices["experiment"]
            found.append(f"experiment: expected one where it is a sweep by itself, got {preset} among others")
    return list(dict.fromkeys(found))


def write_failure(directory: Path, reason: str) -> None:
    """Leave the reason for the process that launched the sweep, beside where the folder of the job would be."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.with_name(f"{directory.name}.failed").write_text(reason, encoding="utf-8")


def take_failures(folder: Path) -> list[str]:
    """The failed jobs of the sweep in `folder`, those of one reason together."""
    jobs: dict[str, list[str]] = {}
    for file in sorted(folder.rglob("*.failed"), key=lambda file: (len(str(file)), file)):
        job = str(file.relative_to(folder)).removesuffix(".failed")
        jobs.setdefault(file.read_text(encoding="utf-8"), []).append(job)
        file.unlink()
        remove_empty(file.parent)
    return [f"job{'s' * (len(names) > 1)} {', '.join(names)}: {reason}" for reason, names in jobs.items()]
