"""A sweep whose jobs may run in other processes, on other machines: what these must be told, and what they tell."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from conf.schema import CONF


class JobError(Exception):
    """An error of ours in a job of a sweep: its traceback, which is lost between processes otherwise."""


class Seen(Callback):
    """Shows the sweep's configuration to the process that starts it, too; Hydra shows it to the jobs alone."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        HydraConfig.instance().set_config(config)


def begun_sweep() -> Path | None:
    """The folder of the sweep that this process has begun, if it has."""
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        with suppress(OmegaConfBaseException):  # a folder that cannot be told is none
            return Path(HydraConfig.get().sweep.dir)
    return None


def prepare_jobs() -> None:
    """Set what the processes of jobs inherit: that they print in any script, and where this program lies."""
    path = [str(Path(CONF).parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    os.environ["PYTHONIOENCODING"] = "utf-8:backslashreplace"


def note_failure(directory: Path, reason: str, begun_by: int) -> None:
    """Leave word for the process that began the sweep, beside where the folder of the job would be."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.with_name(f"{directory.name}.failed-{begun_by}").write_text(reason, encoding="utf-8")


def take_failures(folder: Path, begun_by: int) -> list[str]:
    """What the jobs of the sweep in `folder` left word of, those that failed alike together."""
    jobs: dict[str, list[str]] = {}
    for file in sorted(folder.glob(f"*.failed-{begun_by}"), key=lambda file: (len(file.name), file.name)):
        jobs.setdefault(file.read_text(encoding="utf-8"), []).append(file.stem)
        file.unlink()
    return [f"job{'s' * (len(names) > 1)} {', '.join(names)}: {reason}" for reason, names in jobs.items()]
