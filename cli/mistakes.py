"""One line for a mistake: in Hydra's words where it is Hydra's error, with a similar name where there is one."""

import difflib
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from conf.schema import COMMANDS
from errors import UserError

MISTAKES = (UserError, HydraException, OmegaConfBaseException)
GROUPS = ("data", "experiment")
EXTRAS = {  # of this project, by the choice that needs it
    "hydra/launcher/joblib": "joblib",
    "hydra/launcher/submitit_local": "submitit",
    "hydra/launcher/submitit_slurm": "submitit",
    "hydra/sweeper/optuna": "optuna",
}
# Errors of the machine, not of the program: a full disk, a folder that may not be written.
OS_ERRORS = {
    getattr(errno, name, -1)  # Windows lacks some
    for name in (
        *("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO"),
        *("EEXIST", "ENOTDIR", "EISDIR", "ENAMETOOLONG", "ENOLCK", "ENOTSUP", "ESTALE"),
    )
}


class Refusal(BaseException):
    """A mistake on its way through Hydra, which would announce an Exception in words of its own."""


class JobError(Exception):
    """The traceback of a bug in a job, as text: between processes the traceback itself would be lost."""


@contextmanager
def explain_os_error() -> Iterator[None]:
    """Raise UserError for an error of the machine."""
    try:
        yield
    except OSError as error:
        if error.errno not in OS_ERRORS:
            raise
        where = f": {error.filename}" if error.filename else ""
        raise UserError(f"expected files that can be read and written, got: {error.strerror}{where}") from error


@contextmanager
def composing() -> Iterator[None]:
    """Raise UserError for whatever else than its own errors odd arguments make Hydra raise."""
    try:
        yield
    except (*MISTAKES, JobError, OSError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"expected arguments that Hydra can use, got {type(error).__name__}: {reason}") from error


def describe(error: BaseException, command: str) -> str:
    """An error of this project, of Hydra or of OmegaConf, in one line."""
    cause = error.__cause__ or error
    name = getattr(cause, "full_key", None)
    if isinstance(error, UserError | Refusal):
        return str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file in EXTRAS:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        install = f"pip install --constraint constraints.txt --editable '.[{EXTRAS[error.missing_cfg_file]}]'"
        return f"{group}: expected one that is installed, got {choice}; {install}"
    if isinstance(error, OverrideParseException):
        reason = f" ({str(error).splitlines()[0]})" if "=" in error.override else ""
        return f"expected name=value, got {error.override!r}{reason}"
    if isinstance(cause, ConfigKeyError | ConfigAttributeError) and name:
        known = [*(GROUPS if command == "train" else ()), *names_of(COMMANDS[command])]
        similar = [other for other in known if other.endswith(f".{name}")]  # "steps" for "training.steps"
        similar = difflib.get_close_matches(name, known, n=1, cutoff=0.8) or similar
        hint = f"did you mean {', '.join(similar)}?" if similar else f"all names: python {command}.py --cfg job"
        return f"{name}: there is no such name; {hint}"
    if isinstance(cause, OmegaConfBaseException) and name:
        return f"{name}: {str(cause).splitlines()[0]}"
    return " ".join(str(error).partition("Config search path:")[0].split())


def names_of(config: type, prefix: str = "") -> Iterator[str]:
    """Every name in a configuration class, groups before the dot."""
    for field in fields(config):
        if isinstance(field.type, type) and is_dataclass(field.type):
            yield from names_of(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name
