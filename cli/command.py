"""Turns a function of a configuration into a command: Hydra composes, a mistake is one line, the exit code tells."""

import functools
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from cli.compose import compose, folder_to_resume, names, parse, quote, register, typed
from cli.mistakes import GROUPS, MISTAKES, JobError, composing, describe, explain_os_error
from cli.output import prepare_output
from cli.sweep import FLAGS, is_sweep, prepare_jobs, sweep_problems, take_failures, write_failure
from conf.schema import CONF
from errors import UserError
from terminal import visible
from training.run import Job
from training.run_folder import claimed

Main = Callable[[Any, Job], Any]
Decorator = Callable[[Main], Callable[[], None]]


class _Refusal(BaseException):
    """A mistake on its way through Hydra, which would announce an Exception in words of its own."""


def command(
    name: str,
    free_text: Iterable[str] = (),
    free_texts: Iterable[str] = (),
    trains: bool = False,
    after_sweep: Callable[[Path], None] | None = None,
) -> Decorator:
    """Decorate `main(config, job)`, whose result is what a sweep optimizes.

    A mistake of the user's ends the process with one line on standard error and exit code 2; any other error keeps its
    traceback. Outside sweeps the values of the names in `free_text` are taken as they are typed, whatever commas,
    colons or quotes they hold; so are those in `free_texts`, as lists of one text, unless they begin as lists do. A
    command that `trains` keeps a folder for each run, sweeps, resumes and runs on several ranks; `after_sweep` gets
    the folder of a sweep, however it ended.
    """

    def decorate(main: Main) -> Callable[[], None]:
        @functools.wraps(main)
        def run() -> None:
            _Command(main, name, free_text, free_texts, trains, after_sweep).run()

        return run

    return decorate


@dataclass
class _Command:
    main: Main
    name: str
    free_text: Iterable[str]
    free_texts: Iterable[str]
    trains: bool
    after_sweep: Callable[[Path], None] | None
    sweep: Path | None = field(default=None, init=False)  # its folder, if this process launches one
    job_failed: bool = field(default=False, init=False)  # by a mistake, in that sweep

    def run(self) -> None:
        """Do all of it and end the process."""
        prepare_output(keep_running=self.trains)
        register()
        # Hydra would print a part of the traceback and end with exit code 1; the error itself is wanted here.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        try:
            if not several_ranks():
                self._launch()
            elif self.trains:
                from training.distributed import run_ranks

                run_ranks(self._launch)
            elif is_first_rank():  # the others have nothing to add
                raise UserError("expected one process, got several; torchrun is for train.py")
        except (*MISTAKES, _Refusal) as mistake:
            reason = str(mistake) if isinstance(mistake, _Refusal) else describe(mistake, self.name)
            self._end(2, self._line(reason))
        except JobError as error:
            self._end(1, str(error))
        except KeyboardInterrupt:
            print("\ninterrupted", file=sys.stderr)
            sys.exit(130)
        sys.exit(2 if self.job_failed else 0)

    def _launch(self) -> None:
        """Have Hydra compose the command line and call the job, or the jobs of a sweep. Raises MISTAKES."""

        @functools.wraps(self.main)  # after which Hydra names the job
        def job(composed: DictConfig) -> Any:
            return self._job(composed)

        # Rank 0 alone has a folder: what Hydra writes on the others is dropped.
        with nullcontext() if is_first_rank() else TemporaryDirectory() as nowhere:
            self._prepare(nowhere)
            try:
                with explain_os_error(), composing():
                    hydra.main(version_base="1.3", config_path=CONF, config_name=self.name)(job)()
            finally:
                if self.sweep and self.after_sweep:
                    self.after_sweep(self.sweep)
                if self.sweep and (failures := take_failures(self.sweep)):
                    self.job_failed = True
                    print(self._line("; ".join(failures)), end="", file=sys.stderr)

    def _prepare(self, nowhere: str | None) -> None:
        """Bring the command line into Hydra's grammar, check a sweep, and settle the folder. Raises MISTAKES."""
        arguments = sys.argv[1:]
        if FLAGS.isdisjoint(arguments):
            arguments = sys.argv[1:] = [quote(each, self.free_text, self.free_texts) for each in arguments]
        elif not self.trains:
            raise UserError("expected one set of values, got a sweep; only training sweeps")
        if not self.trains or any(each.startswith("-") and each not in FLAGS for each in arguments):
            return  # a flag asks for help, the configuration, or completion
        if folder := nowhere or self._settle(arguments):
            sys.argv += [quote(f"{name}={folder}", (name,)) for name in ("hydra.run.dir", "hydra.sweep.dir")]

    def _settle(self, arguments: list[str]) -> Path | None:
        """The folder of a sweep, or of the run to resume; None where Hydra is to name it."""
        if not any(re.match(r"(experiment|hydra\.mode|resume)=", each) or each in FLAGS for each in arguments):
            return None
        base = compose(self.name, [each.input_line or "" for each in parse(arguments) if not each.is_sweep_override()])
        if not is_sweep(base, arguments):
            return folder_to_resume(base, in_run_dir=any(each.startswith("hydra.run.dir=") for each in arguments))
        if base.resume is not None:
            raise UserError(f"resume: expected one run, got a sweep with resume={base.resume}")
        if problems := sweep_problems(self.name, base, arguments):
            raise UserError("; ".join(problems))
        prepare_jobs()
        self.sweep = Path(base.hydra.sweep.dir)
        take_failures(self.sweep)  # of a sweep that was killed there
        return self.sweep

    def _job(self, composed: DictConfig) -> Any:
        """Called by Hydra with each configuration, in a sweep maybe in other processes."""
        context = HydraConfig.get()
        in_sweep = context.mode == RunMode.MULTIRUN and not several_ranks()  # ranks end together where one job fails
        presets = {name: context.runtime.choices[name] for name in GROUPS if name in context.runtime.choices}
        job = Job(Path(context.runtime.output_dir), names(context.overrides.task), presets)
        files = {"config": composed, "hydra": HydraConfig.instance().cfg, "overrides": context.overrides.task}
        keep = self.trains and is_first_rank()
        try:
            config = typed(composed)
            if problems := config.problems():
                raise UserError("; ".join(problems))
            folder = claimed(job.directory, composed.resume is not None, files) if keep else nullcontext()
            with explain_os_error(), _explain_lost_rank(), folder:
                result = self.main(config, job)
            sys.stdout.flush()
            return result
        except MISTAKES as mistake:
            _remove_empty(job.directory)
            reason = describe(mistake, self.name)
            if not in_sweep:
                raise _Refusal(reason) from mistake
            print(f"failed   {visible(reason)}", flush=True)
            write_failure(job.directory, reason)
            return math.inf
        except Exception:
            raise JobError(traceback.format_exc()) from None

    def _line(self, mistake: str) -> str:
        return visible(f"{self.name}.py: {mistake}".replace("\n", "\\n")) + "\n"

    def _end(self, code: int, text: str) -> NoReturn:
        """End the process after `text`. Of several ranks that fail, the first alone prints."""
        if self.trains and several_ranks():
            from training.distributed import is_first_failure

            text = text if is_first_failure() else ""
        print(text, end="", file=sys.stderr)
        sys.exit(code)


def several_ranks() -> bool:
    """Whether torchrun has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first_rank() -> bool:
    return not several_ranks() or os.environ["RANK"] == "0"


def _explain_lost_rank() -> AbstractContextManager[None]:
    if not several_ranks():
        return nullcontext()
    from training.distributed import explain_lost_rank

    return explain_lost_rank()


def _remove_empty(directory: Path) -> None:
    """Remove the folder that Hydra made for a run, and those above it up to runs/, if there is nothing in them."""
    for folder in (directory, *directory.parents):
        if not folder.is_relative_to(Path.cwd() / "runs") or not folder.exists() or any(folder.iterdir()):
            return
        folder.rmdir()
