"""Turns a function of a configuration into a command: composes, checks, runs, and says mistakes in one line."""

import functools
import io
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from conf.claim import claimed, refusals_told, remove_empty
from conf.mistakes import MISTAKES, composing, described, find_mistakes, spelled_out, typed
from conf.resume import folder_to_resume
from conf.schema import CONF, register
from conf.sweep import JobError, begun_sweep, note_failure, prepare_jobs, take_failures
from errors import UserError
from terminal import visible

Main = Callable[[Any, Path], Any]
Decorator = Callable[[Main], Callable[[], None]]


def command(
    name: str,
    free_text: Iterable[str] = (),
    free_texts: Iterable[str] = (),
    keeps_runs: bool = False,
    after_sweep: Callable[[Path], None] | None = None,
    followed_by: Callable[[Any], object] | None = None,
) -> Decorator:
    """Decorate `main(config, directory)`: its typed configuration and the folder of the run, if it keeps one.

    What `main` returns is what a sweep optimizes. A mistake of the user's ends the process with one line on standard
    error and exit code 2; any other error keeps its traceback. Outside sweeps the values of the names in `free_text`
    are taken as they are typed, whatever commas, colons or quotes they hold; so are those in `free_texts`, as lists of
    one text, unless they begin as lists do. `after_sweep` gets the folder of a sweep, however it ended. Where torchrun
    has started several processes, all but the first call `followed_by` with each thing that `main` shares with them.
    """

    def decorate(main: Main) -> Callable[[], None]:
        begun: list[Path] = []  # the folder of each job in this process
        launcher = os.getpid()  # which the jobs of a sweep take along to other processes

        def is_sweep() -> bool:
            return not {"-m", "--multirun"}.isdisjoint(sys.argv)

        @functools.wraps(main)
        def job(composed: DictConfig) -> Any:
            directory = Path(HydraConfig.get().runtime.output_dir)
            in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN  # this may be another process, told otherwise
            begun.append(directory)
            try:
                config = typed(composed)
                if problems := config.problems():
                    raise UserError("; ".join(problems))
                with refusals_told(), claimed(directory, composed) if keeps_runs else nullcontext():
                    result = main(config, directory)
                sys.stdout.flush()
                return result
            except BrokenPipeError:
                # Whoever read the output has seen enough. Python must not fail again when it flushes at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                if several():
                    sys.exit(1)  # the others would wait
                return None
            except MISTAKES as mistake:
                remove_empty(directory)
                if in_sweep and not several():
                    print(f"failed   {visible(reason := described(mistake, name))}", flush=True)
                    note_failure(directory, reason, launcher)
                    return math.inf
                # Hydra would announce an exception in words of its own, but lets this one pass.
                sys.exit(_say(name, [described(mistake, name)]))
            except Exception:
                if in_sweep and not several():
                    raise JobError(traceback.format_exc()) from None
                raise

        @functools.wraps(main)
        def run() -> None:
            if not several():
                return lead()
            if not followed_by:
                first = os.environ["RANK"] == "0"
                sys.exit(_say(name, ["expected one process, got several; only training is spread"]) if first else 0)
            from training.processes import together

            try:
                together(lead, followed_by)
            except MISTAKES as mistake:
                sys.exit(_say(name, [described(mistake, name)]))

        def lead() -> None:
            register()
            _speak_utf8()
            if is_sweep() and not keeps_runs:
                sys.exit(_say(name, ["expected one set of values, got a sweep; only training sweeps"]))
            if not is_sweep():
                sys.argv[1:] = [_literal(argument, free_text, free_texts) for argument in sys.argv[1:]]
            try:
                sys.argv[1:] = spelled_out(name, sys.argv[1:])
                folder = folder_to_resume(name, sys.argv[1:], is_sweep()) if keeps_runs else None
            except UserError as mistake:
                sys.exit(_say(name, [str(mistake)]))
            if folder:
                sys.argv.append(_literal(f"hydra.run.dir={folder}", ("hydra.run.dir",)))
            if is_sweep():
                if mistakes := find_mistakes(name, sys.argv[1:]):
                    sys.exit(_say(name, mistakes))
                prepare_jobs()
            # Hydra would print a part of the traceback and end with exit code 1; the error itself is wanted here.
            os.environ["HYDRA_FULL_ERROR"] = "1"
            try:
                # Hydra makes the folder. Until it calls the job, whatever goes wrong is due to what it was told.
                with refusals_told(), composing(lambda: not begun):
                    hydra.main(version_base="1.3", config_path=CONF, config_name=name)(job)()
            except JobError as error:
                print(error, end="", file=sys.stderr)
                sys.exit(1)
            except MISTAKES as mistake:
                sys.exit(_say(name, find_mistakes(name, sys.argv[1:]) or [described(mistake, name)]))
            except KeyboardInterrupt:
                print("\ninterrupted", file=sys.stderr)
                sys.exit(130)
            finally:
                failures = []
                if swept := begun_sweep():
                    if after_sweep:
                        after_sweep(swept)
                    if failures := take_failures(swept, launcher):
                        _say(name, failures)
            sys.exit(2 if failures else 0)

        return run

    return decorate


def several() -> bool:
    """Whether torchrun has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _say(name: str, mistakes: list[str]) -> int:
    """Print mistakes as one line, unless another process has told them; the exit code that goes with them."""
    if several():
        from training.processes import fails_first

        if not fails_first():
            return 2
    line = f"{name}.py: {'; '.join(mistakes)}".replace("\n", "\\n")
    print(visible(line), file=sys.stderr)
    return 2


def _speak_utf8() -> None:
    """Any character of any corpus can be printed, wherever the output goes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _literal(argument: str, free_text: Iterable[str], free_texts: Iterable[str] = ()) -> str:
    """Quote the value of `name=value` for Hydra's grammar if it is free text."""
    name, equals, value = argument.partition("=")
    listed = name in free_texts and not value.startswith("[")
    if not (listed or name in free_text) or not equals or value == "null":
        return argument
    value = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)  # no interpolation
    value = re.sub(r"(\\*)('|\Z)", lambda match: match[1] * 2 + match[2].replace("'", r"\'"), value)
    return f"{name}=['{value}']" if listed else f"{name}='{value}'"
