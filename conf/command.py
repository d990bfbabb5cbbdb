"""Turns a function of a configuration into a command: composes, checks, runs, and says mistakes in one line."""

import difflib
import functools
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from conf.schema import SampleConfig, TrainConfig, register
from errors import UserError

CONF = str(Path(__file__).parent)
MISTAKES = (UserError, HydraException, OmegaConfBaseException)
Main = Callable[[Any, Path], Any]


def command(config_name: str, free_text: Iterable[str] = ()) -> Callable[[Main], Callable[[], None]]:
    """Decorate `main(config, directory)`: its typed configuration and the folder that belongs to the run.

    What `main` returns is what a sweep optimizes. A mistake of the user's ends the process with one line on standard
    error and exit code 2; any other error keeps its traceback. The values of the names in `free_text` are taken as
    they are typed, whatever commas, colons or quotes they hold.
    """

    def decorate(main: Main) -> Callable[[], None]:
        @functools.wraps(main)
        def job(composed: DictConfig) -> Any:
            directory = Path(HydraConfig.get().runtime.output_dir)
            try:
                config = _typed(composed)
                if problems := config.problems():
                    raise UserError("; ".join(problems))
                result = main(config, directory)
                sys.stdout.flush()
                return result
            except BrokenPipeError:
                # Whoever read the output has seen enough. Python must not fail again when it flushes at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return None
            except MISTAKES as mistake:
                _discard_empty(directory)
                # Hydra would announce an exception in words of its own, but lets this one pass.
                sys.exit(_say(config_name, [_described(mistake)]))

        def run() -> None:
            register()
            sweep = not {"-m", "--multirun"}.isdisjoint(sys.argv)
            if not sweep:
                sys.argv[1:] = [_literal(argument, free_text) for argument in sys.argv[1:]]
            # Hydra would print a part of the traceback and end with exit code 1; the error itself is wanted here.
            os.environ["HYDRA_FULL_ERROR"] = "1"
            try:
                hydra.main(version_base="1.3", config_path=CONF, config_name=config_name)(job)()
            except MISTAKES as mistake:
                sys.exit(_say(config_name, [_described(mistake)] if sweep else _mistakes(config_name, mistake)))
            except KeyboardInterrupt:
                print("\ninterrupted", file=sys.stderr)
                sys.exit(130)

        return run

    return decorate


def _say(config_name: str, mistakes: list[str]) -> int:
    """Print mistakes as one line; the exit code that goes with them."""
    print(f"{config_name}.py: {'; '.join(mistakes)}", file=sys.stderr)
    return 2


def _typed(composed: DictConfig) -> TrainConfig | SampleConfig:
    try:
        config = OmegaConf.to_object(composed)
    except (AttributeError, TypeError) as error:  # "+name=value" adds a name that the type has no place for
        raise UserError(f"there is no such name: {error}") from error
    assert isinstance(config, TrainConfig | SampleConfig)
    return config


def _literal(argument: str, free_text: Iterable[str]) -> str:
    """Quote the value of `name=value` for Hydra's grammar if it is free text and not quoted already."""
    name, equals, value = argument.partition("=")
    quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
    if name not in free_text or not equals or quoted or value == "null":
        return argument
    value = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)  # no interpolation
    value = re.sub(r"(\\*)('|\Z)", lambda match: match[1] * 2 + match[2].replace("'", r"\'"), value)
    return f"{name}='{value}'"


def _discard_empty(directory: Path) -> None:
    """Remove a run's folder, and those it stands in, that hold nothing but the configuration Hydra put there."""
    if [file.name for file in directory.iterdir()] != [".hydra"]:
        return
    shutil.rmtree(directory)
    for parent in directory.parents:
        if parent in (Path.cwd(), *Path.cwd().parents) or any(parent.iterdir()):
            return
        parent.rmdir()


def _mistakes(config_name: str, first: Exception) -> list[str]:
    """Every mistake in the overrides, where Hydra stops at the first: each override is tried by itself."""
    found, sound = [], []
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        for override in (argument for argument in sys.argv[1:] if not argument.startswith("-")):
            try:
                if "=" not in override and not override.startswith("~"):
                    raise UserError(f"expected name=value, got {override!r}")
                hydra.compose(config_name, [override])
                sound.append(override)
            except MISTAKES as mistake:
                found.append(_described(mistake))
        if found:
            found += _typed(hydra.compose(config_name, sound)).problems()
    return found or [_described(first)]


def _described(error: Exception) -> str:
    """One line for an error of Hydra or OmegaConf."""
    cause = error.__cause__ or error
    name = getattr(cause, "full_key", None)
    if isinstance(cause, ConfigKeyError | ConfigAttributeError) and name:
        known = _names()
        group = name.rpartition(".")[0]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        near = near or [other for other in known if other.rpartition(".")[0] == group]
        return f"{name}: there is no such name; did you mean {', '.join(near)}?"
    if isinstance(cause, OmegaConfBaseException) and name:
        return f"{name}: {str(cause).splitlines()[0]}"
    return " ".join(str(error).partition("Config search path:")[0].split())


def _names() -> list[str]:
    """Every name that a command of this project knows, groups first."""
    return ["experiment", "data"] + [name for config in (TrainConfig, SampleConfig) for name in _fields(config, "")]


def _fields(config: type, prefix: str) -> Iterator[str]:
    for field in fields(config):
        if isinstance(field.type, type) and is_dataclass(field.type):
            yield from _fields(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name
