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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from cli.claim import claimed, explain_os_error, remove_empty
from cli.mistakes import MISTAKES, composing, described, find_mistakes, spelled_out, typed
from cli.resume import folder_to_resume
from cli.sweep import JobError, begun_sweep, note_failure, prepare_jobs, take_failures
from conf.schema import CONF, register
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
        @functools.wraps(main)
        def run() -> None:
            _Command(main, name, free_text, free_texts, keeps_runs, after_sweep, followed_by).run()

        return run

    return decorate


@dataclass(frozen=True)
class _Command:
    """What `command` was told, in a process that runs it, or a job of it."""

    main: Main
    name: str
    free_text: Iterable[str]
    free_texts: Iterable[str]
    keeps_runs: bool
    after_sweep: Callable[[Path], None] | None
    followed_by: Callable[[Any], object] | None
    begun: list[Path] = field(default_factory=list)  # the folder of each job in this process
    launcher: int = field(default_factory=os.getpid)  # which the jobs of a sweep take along to other processes

    def run(self) -> None:
        """Do all of it, as one of the processes that there are."""
        if not several():
            self._lead()
        elif not self.followed_by:
            if os.environ["RANK"] == "0":  # the others have nothing to add
                self._refuse("expected one process, got several; only training is spread")
        else:
            from training.distributed import run_ranks

            try:
                run_ranks(self._lead, self.followed_by)
            except MISTAKES as mistake:
                self._refuse(described(mistake, self.name))

    def _lead(self) -> None:
        """Have Hydra compose what the command line says, and do the job, or the jobs of a sweep; ends the process."""
        register()
        _speak_utf8()
        try:
            self._read_command_line()
        except UserError as mistake:
            self._refuse(str(mistake))
        if is_sweep():
            if mistakes := find_mistakes(self.name, sys.argv[1:]):
                self._refuse(*mistakes)
            prepare_jobs()

        @functools.wraps(self.main)  # after which Hydra names what it does
        def job(composed: DictConfig) -> Any:
            return self._job(composed)

        # Hydra would print a part of the traceback and end with exit code 1; the error itself is wanted here.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        failures = list[str]()
        try:
            # Hydra makes the folder. Until it calls the job, whatever goes wrong is due to what it was told.
            with explain_os_error(), composing(lambda: not self.begun):
                hydra.main(version_base="1.3", config_path=CONF, config_name=self.name)(job)()
        except JobError as error:
            print(error, end="", file=sys.stderr)
            sys.exit(1)
        except MISTAKES as mistake:
            self._refuse(*(find_mistakes(self.name, sys.argv[1:]) or [described(mistake, self.name)]))
        except KeyboardInterrupt:
            print("\ninterrupted", file=sys.stderr)
            sys.exit(130)
        finally:
            if swept := begun_sweep():
                if self.after_sweep:
                    self.after_sweep(swept)
                if failures := take_failures(swept, self.launcher):
                    self._say(failures)
        sys.exit(2 if failures else 0)

    def _read_command_line(self) -> None:
        """Bring it into Hydra's grammar, and to the folder of a run that goes on. Raises UserError."""
        if not is_sweep():
            sys.argv[1:] = [_literal(argument, self.free_text, self.free_texts) for argument in sys.argv[1:]]
        elif not self.keeps_runs:
            raise UserError("expected one set of values, got a sweep; only training sweeps")
        sys.argv[1:] = spelled_out(self.name, sys.argv[1:])
        if self.keeps_runs and (folder := folder_to_resume(self.name, sys.argv[1:], is_sweep())):
            sys.argv.append(_literal(f"hydra.run.dir={folder}", ("hydra.run.dir",)))

    def _job(self, composed: DictConfig) -> Any:
        """What Hydra calls with each configuration, for a sweep maybe in other processes."""
        directory = Path(HydraConfig.get().runtime.output_dir)
        # Not `is_sweep`: this may be another process, with arguments of its own.
        in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN and not several()
        self.begun.append(directory)
        try:
            config = typed(composed)
            if problems := config.problems():
                raise UserError("; ".join(problems))
            with explain_os_error(), claimed(directory, composed) if self.keeps_runs else nullcontext():
                result = self.main(config, directory)
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
            reason = described(mistake, self.name)
            if not in_sweep:
                self._refuse(reason)  # Hydra would announce an exception in words of its own, but lets this one pass
            print(f"failed   {visible(reason)}", flush=True)
            note_failure(directory, reason, self.launcher)
            return math.inf
        except Exception:
            if in_sweep:
                raise JobError(traceback.format_exc()) from None
            raise

    def _refuse(self, *mistakes: str) -> NoReturn:
        self._say(mistakes)
        sys.exit(2)

    def _say(self, mistakes: Iterable[str]) -> None:
        """Print mistakes as one line, unless another process has told them."""
        if several():
            from training.distributed import is_first_failure

            if not is_first_failure():
                return
        line = f"{self.name}.py: {'; '.join(mistakes)}".replace("\n", "\\n")
        print(visible(line), file=sys.stderr)


def is_sweep() -> bool:
    """Whether the command line asks for one."""
    return not {"-m", "--multirun"}.isdisjoint(sys.argv)


def several() -> bool:
    """Whether torchrun has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


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
