"""A command around a function of a configuration: Hydra composes, a mistake is one line, the exit code tells."""

import math
import os
import sys
import traceback
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from cli.compose import VERSION_BASE, compose, initialize, prepare_folder, register, typed
from cli.mistakes import GROUPS, MISTAKES, JobError, Refusal, composing, describe, explain_os_error
from cli.output import prepare_output
from cli.overrides import FLAGS, SWEEP_FLAGS, hint_at_escapes, names, parse, quote, quoting_hint, search_path
from cli.ranks import check_ranks, is_first_rank, several_ranks
from cli.sweep import prepare_sweep, reported, write_failure
from conf.schema import CONF
from errors import UserError
from terminal import escaped, visible
from training.run import Job
from training.run_folder import claimed, remove_empty


@dataclass(frozen=True)
class Command:
    """The command `name` around `main(config, job)`, whose result is what a sweep optimizes.

    A mistake of the user's ends the process with one line on standard error and exit code 2; any other error keeps its
    traceback. The values of the names in `free_text` are taken as they are typed, whatever commas, colons or quotes
    they hold, unless a sweep makes several of them; so are those in `free_texts`, as lists of one text, unless they
    begin as lists do. A command that `trains` keeps a folder for each run, sweeps, resumes and runs on several ranks;
    `after_sweep` gets the folder of a sweep, however it ended.
    """

    main: Callable[[Any, Job], Any]
    name: str
    free_text: Collection[str] = ()
    free_texts: Collection[str] = ()
    trains: bool = False
    after_sweep: Callable[[Path], None] | None = None

    def __call__(self) -> None:
        """Run what the command line asks for. Ends the process where that fails."""
        prepare_output(keep_running=self.trains)
        # Hydra would print a part of the traceback and end with exit code 1; the error itself is wanted here.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        # The one name that configurations, checkpoints and TensorBoard keep as text.
        arguments = [escaped(each) if each.startswith("data.path=") else each for each in sys.argv[1:]]
        sweeping = bool({*SWEEP_FLAGS, "hydra.mode=MULTIRUN"}.intersection(arguments))
        try:
            register()
            quoted = [quote(each, self.free_text, self.free_texts, sweeping) for each in arguments]
            given = search_path(quoted)
            if any(each.startswith("-") and each not in FLAGS for each in given):
                return self._print(quoted)
            check_ranks()
            if not several_ranks():
                self._launch(given, sweeping)
            elif self.trains:
                from training.distributed import run_ranks

                run_ranks(partial(self._launch, given, sweeping))
            elif is_first_rank():  # the others have nothing to add
                raise UserError("expected one process, got several; torchrun is for train.py")
        except (*MISTAKES, Refusal) as mistake:
            line = f"{self.name}.py: {describe(mistake, self.name)}"
            line += quoting_hint(mistake, line, arguments, (*self.free_text, *self.free_texts) if sweeping else ())
            _end(2, visible(line.replace("\n", "\\n")) + "\n")
        except JobError as error:
            _end(1, str(error))
        except KeyboardInterrupt:
            _end(130, "\ninterrupted\n")

    def _print(self, arguments: Sequence[str]) -> None:
        """Have Hydra print help, the configuration, or completions. Raises MISTAKES."""
        sys.argv[1:] = arguments
        with explain_os_error(), composing():
            hydra.main(config_path=CONF, config_name=self.name, **VERSION_BASE)(self._job)()

    def _launch(self, arguments: Sequence[str], multirun: bool) -> None:
        """Compose, settle the folder, and call the job, or the jobs of a sweep. Raises MISTAKES."""
        overrides = [each for each in arguments if each not in FLAGS]
        if not VERSION_BASE and "hydra/sweeper=optuna" in overrides:
            raise UserError(
                "hydra/sweeper: expected one for Hydra 1.4, got optuna, which needs 1.3 (Python below 3.14)"
            )
        if multirun and not self.trains:
            raise UserError("expected one set of values, got a sweep; only training sweeps")
        if is_first_rank():
            hint_at_escapes(sys.argv[1:])
        # Rank 0 alone has a folder: what Hydra writes on the others is dropped.
        with explain_os_error(), nullcontext() if is_first_rank() else TemporaryDirectory() as nowhere, initialize():
            folder = Path(nowhere) if nowhere else None
            if self.trains:
                base = compose(
                    self.name, [each.input_line or "" for each in parse(overrides) if not each.is_sweep_override()]
                )
                multirun |= base.hydra.mode == RunMode.MULTIRUN  # by a preset
                if not nowhere:
                    folder = (prepare_sweep if multirun else prepare_folder)(self.name, base, overrides)
            if folder:  # else Hydra names it
                overrides += [quote(f"{name}={folder}", (name,)) for name in ("hydra.run.dir", "hydra.sweep.dir")]
            application: Any = GlobalHydra.instance().hydra  # hydra.main would initialize another
            launch, mode = (application.multirun, "MULTIRUN") if multirun else (application.run, "RUN")
            report = reported(folder, self.after_sweep) if multirun and folder and not nowhere else nullcontext()
            try:
                with report, composing():
                    launch(self.name, self._job, [*overrides, f"hydra.mode={mode}"])
            finally:
                if folder:
                    remove_empty(folder)

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
            with explain_os_error(), folder:
                result = self.main(config, job)
            sys.stdout.flush()
            return result
        except MISTAKES as mistake:
            reason = describe(mistake, self.name)
            remove_empty(job.directory)
            if not in_sweep:
                raise Refusal(reason) from mistake
            print(f"failed   {visible(reason)}", flush=True)
            write_failure(job.directory, reason)
            return math.inf
        except Exception:
            raise JobError(traceback.format_exc()) from None


def _end(code: int, text: str) -> NoReturn:
    """End the process after `text`. Of several ranks that fail, the first alone prints."""
    if several_ranks():
        from training.distributed import is_first_failure

        text = text if is_first_failure() else ""
    print(text, end="", file=sys.stderr)
    sys.exit(code)
