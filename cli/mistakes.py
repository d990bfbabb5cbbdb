"""What is wrong with a command line, all of it at once and in words for its user."""

import difflib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from itertools import islice, product

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from cli.sweep import JobError
from conf.schema import COMMANDS, CONF, SampleConfig, TrainConfig
from errors import UserError

MISTAKES = (UserError, HydraException, OmegaConfBaseException)
GROUPS = ("data", "experiment")
EXTRAS = {  # which extra brings what
    "hydra/launcher/joblib": "joblib",
    "hydra/launcher/submitit_local": "submitit",
    "hydra/launcher/submitit_slurm": "submitit",
    "hydra/sweeper/optuna": "optuna",
}
JOBS_CHECKED = 200  # of a sweep, before it starts


@contextmanager
def composing(still: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Raise UserError for what Hydra has no error of its own for, as odd arguments make it raise anything.

    Only while it is `still` composing.
    """
    try:
        yield
    except (*MISTAKES, JobError, OSError):
        raise
    except Exception as error:
        if not still():
            raise
        raise UserError(f"expected what Hydra can run, got {type(error).__name__}: {error}") from error


def typed(composed: DictConfig) -> TrainConfig | SampleConfig:
    """The typed configuration of a command. Raises UserError at a name that its type has no place for."""
    try:
        config = OmegaConf.to_object(composed)
    except (AttributeError, TypeError) as error:  # "+name=value" gets this far
        raise UserError(f"there is no such name: {error}") from error
    assert isinstance(config, TrainConfig | SampleConfig)
    return config


def find_mistakes(command: str, arguments: Sequence[str]) -> list[str]:
    """Try each override by itself, then together; of a sweep, each value and each job. Writes nothing.

    Hydra stops at the first mistake, and starts a sweep whose last job cannot run.
    """
    found, choices = [], []
    wrong_names: list[str] = []
    groups: list[str] = []  # of launchers and sweepers: their settings are names only beside them
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        for argument in sorted(arguments, key=lambda argument: not argument.startswith("hydra/")):
            if argument.startswith("-") or "=" not in argument:
                continue
            if any(argument.startswith(f"{name.replace('/', '.')}.") for name in wrong_names):
                continue
            sound = []
            try:
                with composing():
                    for choice in _choices(argument):
                        hydra.compose(command, [*groups, choice])
                        sound.append(choice)
                if argument.startswith("hydra/"):
                    groups += sound
            except MISTAKES as mistake:
                found.append(described(mistake, command))
                wrong_names.append(argument.partition("=")[0])
            choices.append(sound or [""])
        for job in islice(product(*choices), JOBS_CHECKED):
            try:
                with composing():
                    problems = typed(hydra.compose(command, [choice for choice in job if choice])).problems()
                # What is said of a value that could not be read would be said of its default.
                found += [problem for problem in problems if not any(name in problem for name in wrong_names)]
            except MISTAKES as mistake:
                found.append(described(mistake, command))
    return list(dict.fromkeys(found)) or _missing_programs(arguments)


def _missing_programs(arguments: Sequence[str]) -> list[str]:
    """That Slurm is asked for and not there, which submitit would say when files have been written."""
    if "hydra/launcher=submitit_slurm" not in arguments or shutil.which("srun"):
        return []
    return ["hydra/launcher: expected a machine of a Slurm cluster for submitit_slurm, got one without srun"]


def spelled_out(command: str, arguments: Sequence[str]) -> list[str]:
    """`arguments`, or, if they choose a preset that is a sweep, the sweep that it stands for.

    Raises UserError if they choose others beside it.
    """
    chosen = [argument for argument in arguments if argument.startswith("experiment=")]
    if not chosen or not {"--cfg", "-c", "--info", "-i"}.isdisjoint(arguments):
        return list(arguments)
    try:
        with composing():
            presets = [choice for argument in chosen for choice in _choices(argument)]
        with composing(), hydra.initialize_config_dir(CONF, version_base="1.3"):
            settings = [hydra.compose(command, [preset], return_hydra_config=True).hydra for preset in presets]
    except MISTAKES:  # it is said later, with all others
        return list(arguments)
    sweeps = [setting.sweeper.params for setting in settings if setting.mode == RunMode.MULTIRUN]
    if not sweeps:
        return list(arguments)
    if len(presets) > 1:
        raise UserError(f"experiment: expected one where it is a sweep by itself, got {', '.join(chosen)}")
    given = {argument.partition("=")[0] for argument in arguments}
    swept = [f"{name}={values}" for name, values in sweeps[0].items() if name not in given]
    return ["--multirun", *swept, *(argument for argument in arguments if argument not in ("-m", "--multirun"))]


def _choices(argument: str) -> list[str]:
    """The overrides that one argument of a sweep stands for; none for a range without steps, which has no list."""
    (override,) = OverridesParser.create().parse_overrides([argument])
    if not override.is_sweep_override():
        return [argument]
    if not override.is_discrete_sweep():
        return []
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def described(error: Exception, command: str) -> str:
    """One line for an error of ours, of Hydra or of OmegaConf."""
    cause = error.__cause__ or error
    name = getattr(cause, "full_key", None)
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file in EXTRAS:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        how = f"pip install --constraint constraints.txt --editable '.[{EXTRAS[error.missing_cfg_file]}]'"
        return f"{group}: expected one that is installed, got {choice}; {how}"
    if isinstance(error, OverrideParseException):
        reason = f" ({str(error).splitlines()[0]})" if "=" in error.override else ""
        return f"expected name=value, got {error.override!r}{reason}"
    if isinstance(cause, ConfigKeyError | ConfigAttributeError) and name:
        known = [*(GROUPS if command == "train" else ()), *names_of(COMMANDS[command])]
        group = name.rpartition(".")[0]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        near = near or [other for other in known if other.endswith(f".{name}")]  # "steps" for "training.steps"
        near = near or [other for other in known if other.rpartition(".")[0] == group] or known
        return f"{name}: there is no such name; did you mean {', '.join(near)}?"
    if isinstance(cause, OmegaConfBaseException) and name:
        return f"{name}: {str(cause).splitlines()[0]}"
    return " ".join(str(error).partition("Config search path:")[0].split())


def names_of(config: type, prefix: str = "") -> Iterator[str]:
    """Every name in a configuration, groups before the dot."""
    for field in fields(config):
        if isinstance(field.type, type) and is_dataclass(field.type):
            yield from names_of(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name
