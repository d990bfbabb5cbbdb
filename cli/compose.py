"""Configurations as Hydra composes them, before it does: nothing is written."""

import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from traceback import format_tb

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf, open_dict

from cli.mistakes import composing
from cli.overrides import as_typed, names
from conf.schema import COMMANDS, CONF, SampleConfig, TrainConfig
from errors import UserError
from training.run import AUTO
from training.run_folder import has_run, make_folder, newest_run

VERSION_BASE = {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}  # Hydra 1.4 deprecates it


@cache  # Hydra 1.4 warns where a name is stored twice
def register() -> None:
    """Make plugins and our configurations known to Hydra. Raises UserError at a plugin that keeps it from starting."""
    try:
        Plugins.instance()  # imports them
    except Exception as error:
        if not (found := re.search(r"hydra_plugins[/\\](\w+)", "".join(format_tb(error.__traceback__)))):
            raise
        reason = f"{type(error).__name__}: {error}; pip uninstall {found[1]}"
        raise UserError(f"expected plugins that Hydra can import, got {found[1]}, which raises {reason}") from error
    for command, config in COMMANDS.items():
        ConfigStore.instance().store(name=f"{command}_schema", node=config)


def initialize() -> AbstractContextManager[None]:
    """The context of all compositions and jobs: once in a process, as plugins may fail when initialized again."""
    with composing():
        return hydra.initialize_config_dir(CONF, **VERSION_BASE)


def compose(command: str, overrides: Sequence[str]) -> DictConfig:
    """The configuration of a command, Hydra's own included. Raises MISTAKES."""
    with composing():
        return hydra.compose(command, list(overrides), return_hydra_config=True)


def typed(composed: DictConfig) -> TrainConfig | SampleConfig:
    """The typed configuration of a command. Raises UserError at a name that its type lacks."""
    composed = composed.copy()
    with open_dict(composed):
        composed.pop("hydra", None)
    try:
        config = OmegaConf.to_object(composed)
    except (AttributeError, TypeError) as error:  # "+name=value" gets this far
        raise UserError(f"there is no such name: {error}") from error
    assert isinstance(config, TrainConfig | SampleConfig)
    return as_typed(config)


def prepare_folder(_: str, config: DictConfig, overrides: Sequence[str]) -> Path | None:
    """The folder of the run that `resume` names, or else a new one; None if hydra.run.dir names it."""
    named = "hydra.run.dir" in names(overrides)
    if config.resume in (None, AUTO):
        if named:
            return None
        newest = newest_run(Path("runs") / config.name, "*") if config.resume else None
        return newest or make_folder(Path(config.hydra.run.dir))
    if named:
        raise UserError(
            "resume: expected a run's folder there or in hydra.run.dir, got both; with the latter, give auto"
        )
    folder = Path(os.path.expanduser(config.resume))  # Path.expanduser raises where there is no such user
    if has_run(folder):
        return folder
    newest = newest_run(folder, "**")
    hint = f"; the newest below it is {newest}" if newest else ""
    raise UserError(f"resume: expected auto or a run's folder with a checkpoint to resume, got {config.resume}{hint}")
