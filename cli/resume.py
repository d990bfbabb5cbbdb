"""Going on with a run: which one, and that nothing else is asked of it now than was then."""

from collections.abc import Sequence
from copy import deepcopy
from operator import attrgetter
from pathlib import Path

import hydra

from cli.mistakes import MISTAKES, composing
from cli.record import Record, named_in
from conf.schema import CONF
from errors import UserError
from model.config import DecoderConfig, PositionKind

AUTO = "auto"  # the newest run of the same name if there is one, else a new one
LAST = Path("checkpoints") / "last.safetensors"
# Where the text lies, where and how the run computes and what becomes of it may change; what is learned may not. That
# the text is the same is known when it has been read.
FREE = (
    "resume",
    "data.path",
    "data.source",
    "runtime.device",
    "runtime.precision",
    "runtime.compile",
    "training.checkpoint_every",
    "training.on_divergence",
)
MAY_GROW = "training.steps"


def has_run(directory: Path) -> bool:
    """Whether a run in `directory` came so far that it can be gone on with."""
    return (directory / LAST).is_file()


def folder_to_resume(command: str, arguments: Sequence[str], is_sweep: bool) -> Path | None:
    """The folder of the run that `resume` means; None if there is none, or if it is said by hydra.run.dir.

    Raises UserError if there should be one and is not. Other mistakes are left for others to say.
    """
    given = [argument for argument in arguments if argument.startswith("resume=")]
    if not given:
        return None
    if is_sweep:
        raise UserError(f"resume: expected one run, got a sweep with {given[-1]}")
    try:
        with composing(), hydra.initialize_config_dir(CONF, version_base="1.3"):
            config = hydra.compose(command, [argument for argument in arguments if "=" in argument])
        named, name = config.resume, config.name
    except MISTAKES:
        return None
    if named is None:
        return None
    elsewhere = any(argument.startswith("hydra.run.dir=") for argument in arguments)
    if named == AUTO:
        return None if elsewhere else _newest(Path("runs") / name, "*")
    if elsewhere:
        raise UserError(
            "resume: expected a run's folder there or in hydra.run.dir, got both; with the latter, give auto"
        )
    try:
        folder = Path(named).expanduser()
        found, below = has_run(folder), _newest(folder, "**")
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"resume: cannot look for {named!r}: {error}") from error
    if not found:
        hint = f"; the newest below it is {below}" if below else ""
        raise UserError(f"resume: expected auto or a run's folder, which holds {LAST}, got {named}{hint}")
    return folder


def _newest(folder: Path, below: str) -> Path | None:
    """Of the runs in `folder`, as deep as the pattern `below`; that of a sweep are deeper than others."""
    found = sorted(folder.glob(f"{below}/{LAST}"), key=lambda file: file.stat().st_mtime)
    return found[-1].parents[1] if found else None


def merge_for_resume(then: Record, now: Record, overrides: Sequence[str]) -> Record:
    """The record of a run that was `then` and goes on `now`, when the command line says `overrides`.

    Raises UserError naming everything that it says otherwise than the run was started with, but for what may change.
    """
    record, conflicts = deepcopy(then), []
    record.ran_on = now.ran_on
    for name in named_in(overrides):
        if name == "data":
            record.config.data.source = now.config.data.source
        elif name in then.presets:
            if then.presets[name] != now.presets[name]:
                conflicts.append(f"{name}={now.presets[name]} (was {then.presets[name]})")
        else:
            old, new = attrgetter(name)(then.config), attrgetter(name)(now.config)
            if name in FREE or (name == MAY_GROW and new >= old):
                group, _, field = name.rpartition(".")
                setattr(attrgetter(group)(record.config) if group else record.config, field, new)
            elif old != new:
                conflicts.append(
                    f"{name}={_shown(new)} (was {_shown(old)}" + ", may only grow" * (name == MAY_GROW) + ")"
                )
        if name in now.settings:
            record.settings[name] = now.settings[name]
    if conflicts:
        raise UserError(f"resume: expected what the run was started with, got {', '.join(conflicts)}")
    return record


def init_from_config(start: DecoderConfig, now: DecoderConfig, overrides: Sequence[str]) -> DecoderConfig:
    """The shape of a decoder that begins with the weights of one of the shape `start`.

    Raises UserError naming every size that the command line says otherwise.
    """
    free = {"dropout", "attention_dropout"} | ({"context"} if start.position is not PositionKind.learned else set())
    model, conflicts = deepcopy(start), []
    for name in named_in(overrides):
        field = name.removeprefix("model.")
        if field == name:
            continue
        old, new = getattr(start, field), getattr(now, field)
        if field in free:
            setattr(model, field, new)
        elif old != new:
            conflicts.append(f"{name}={_shown(new)} (is {_shown(old)})")
    if conflicts:
        raise UserError(f"init_from: expected the shape of its weights, got {', '.join(conflicts)}")
    return model


def _shown(value: object) -> str:
    return f"[{', '.join(map(_shown, value))}]" if isinstance(value, list) else str(getattr(value, "value", value))
