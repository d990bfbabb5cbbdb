"""A run before it trains: its record, which checkpoints store, what may differ on resume, weights to begin with."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errors import UserError
from model.config import DecoderConfig, PositionKind
from terminal import quoted, relative, visible
from training.config import from_dict
from training.run_folder import LAST, find_checkpoint, has_run

if TYPE_CHECKING:
    from conf.schema import TrainConfig
    from model.decoder import Decoder
    from training.checkpoint import Checkpoint
    from training.device import Runtime

AUTO = "auto"  # resume the newest run of the same name if there is one, else start one
# Where the text lies, where and how the run computes, when it stops and what is shown of it may change on resume; what
# is learned may not. Whether the text is the same is known once it has been read.
MAY_CHANGE = re.compile(
    r"resume|data\.(path|source|unreadable)|(runtime|board)\..+|training\.(patience|test_stride|(evaluate|checkpoint)_every|on_divergence)"
)
MAY_GROW = "training.steps"
LISTED = 20  # characters, in messages


@dataclass(frozen=True)
class Job:
    """A command as Hydra composed it, beside its configuration: the folder, and what the command line sets."""

    directory: Path
    overrides: list[str]  # names
    presets: dict[str, str]  # by group


@dataclass(kw_only=True)
class _Details:
    presets: dict[str, str]  # by group
    settings: dict[str, int | float | str | None]  # set on the command line, and the preset: what runs are compared by
    ran_on: dict[str, int | str]  # the machine


@dataclass(kw_only=True)
class Record(_Details):
    """Configuration, presets, settings and machine of a run: stored in its checkpoints."""

    config: "TrainConfig"

    @classmethod
    def of(cls, config: "TrainConfig", job: Job) -> "Record":
        """The record of a run that runs nowhere yet."""
        names = ["seed", *(name for name in job.overrides if name != "resume")]
        presets = {name: job.presets[name] for name in ("experiment", *names) if name in job.presets}
        settings = presets | {name: _scalar(attrgetter(name)(config)) for name in names if name not in presets}
        return cls(config=config, presets=job.presets, settings=settings, ran_on={})

    @classmethod
    def restore(cls, values: dict[str, Any], config_class: "type[TrainConfig]") -> "Record":
        """The record of which a checkpoint holds the `values`. Raises ValueError if they are none."""
        details = {name: value for name, value in values.items() if name != "config"}
        config = from_dict(config_class, values.get("config"), "run.config")
        return cls(config=config, **vars(from_dict(_Details, details, "run")))

    def set_machine(self, runtime: "Runtime") -> None:
        """Record where the run computes now."""
        from training.device import machine

        chosen = {name: str(getattr(runtime, name)) for name in ("device", "precision", "compile")}
        self.ran_on = machine(runtime.device) | chosen | {"processes": runtime.ranks.world_size}


@dataclass(frozen=True)
class Run:
    """A run about to train: equal on every rank."""

    directory: Path
    record: Record
    last: "Checkpoint | None" = None  # to resume from
    initial: "Checkpoint | None" = None  # whose weights a new run begins with
    finished: str = ""  # where it ended, if there is nothing left to train


def prepare_run(config: "TrainConfig", job: Job) -> Run:
    """Read the checkpoint to resume or to begin with. Raises UserError where it and the command line conflict."""
    from training.checkpoint import load_checkpoint

    record = Record.of(config, job)
    if config.resume and has_run(job.directory):
        file = job.directory / "checkpoints" / LAST
        last = load_checkpoint(file)
        try:
            saved = Record.restore(last.run, type(config))
            if saved.config.model != last.model or saved.config.problems():
                raise ValueError("; ".join(saved.config.problems()) or "a record of another model")
        except ValueError as error:
            raise UserError(f"resume: expected the checkpoint of a run in {file}, got: {error}") from error
        record = merge_for_resume(saved, record, job.overrides, relative(job.directory))
        if problems := record.config.problems():
            raise UserError("; ".join(problems))
        return Run(job.directory, record, last=last, finished=_finished(job.directory, last, record))
    if config.resume not in (None, AUTO):
        raise UserError(f"resume: expected auto or a run's folder, got {config.resume} for {job.directory}")
    if not config.init_from:
        return Run(job.directory, record)
    initial = load_checkpoint(find_checkpoint(config.init_from))
    config.model = init_from_config(initial.model, config.model, job.overrides)
    if problems := config.problems():  # the weights' shape beside the other settings of this command line
        raise UserError("; ".join(problems))
    return Run(job.directory, record, initial=initial)


def _finished(directory: Path, last: "Checkpoint", record: Record) -> str:
    """The end of a run, in words; empty if something is left to train or to sum up."""
    with suppress(OSError, ValueError, KeyError, TypeError):  # lost, or of a run that was killed before it had one
        summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
        training = record.config.training
        ways = ["a larger training.steps"] * (last.step >= training.steps)
        ways += ["training.patience=null"] * last.state.is_finished(replace(training, steps=last.step + 1))
        if ways and summary["steps"] == last.step:
            return f"at step {last.step}; {' and '.join(ways)} would go on"
    return ""


def merge_for_resume(saved: Record, current: Record, overrides: Sequence[str], folder: Path) -> Record:
    """The record of the run in `folder`, started as `saved`, that resumes as `current`; the user sets `overrides`.

    Raises UserError naming every value that conflicts with the one the run was started with.
    """
    record, conflicts = deepcopy(saved), []
    for name in overrides:
        if name == "data":
            record.config.data.source = current.config.data.source
        elif name in saved.presets:
            if saved.presets[name] != current.presets[name]:
                conflicts.append(f"{name}={current.presets[name]} (was {saved.presets[name]})")
        else:
            old, new = attrgetter(name)(saved.config), attrgetter(name)(current.config)
            if MAY_CHANGE.fullmatch(name) or (name == MAY_GROW and new >= old):
                group, _, field = name.rpartition(".")
                setattr(attrgetter(group)(record.config) if group else record.config, field, new)
            elif old != new:
                rule = ", may only grow" if name == MAY_GROW else ""
                conflicts.append(f"{name}={_yaml(new)} (was {_yaml(old)}{rule})")
        if name in current.settings:
            record.settings[name] = current.settings[name]
    if conflicts:
        way = f"for a new run with its weights, if of the same shape: init_from={folder}"
        raise UserError(f"resume: expected what the run was started with, got {', '.join(conflicts)}; {way}")
    return record


def init_from_config(initial: DecoderConfig, current: DecoderConfig, overrides: Sequence[str]) -> DecoderConfig:
    """The configuration of a decoder that begins with the weights of one configured as `initial`.

    Raises UserError naming every value on the command line that does not fit the weights.
    """
    free = {"dropout", "attention_dropout", "token_dropout"}
    if initial.position is not PositionKind.learned:
        free.add("context")
    model, conflicts = deepcopy(initial), []
    for name in (name for name in overrides if name.startswith("model.")):
        field = name.removeprefix("model.")
        old, new = getattr(initial, field), getattr(current, field)
        if field in free:
            setattr(model, field, new)
        elif old != new:
            conflicts.append(f"{name}={_yaml(new)} (is {_yaml(old)})")
    if conflicts:
        raise UserError(f"init_from: expected the shape of its weights, got {', '.join(conflicts)}")
    return model


def transfer(start: "Checkpoint", decoder: "Decoder", tokens: str) -> str:
    """Initialise `decoder`, of the same shape, with the weights of `start`; returns what became of its characters.

    Rows of the embedding and of the output layer are those of the same token of the vocabulary: a byte that is not
    ASCII is none of Latin-1. One that `start` did not know keeps the row that it has.
    """
    from data.vocabulary import Vocabulary

    ids = {token: i for i, token in enumerate(Vocabulary(start.vocabulary, start.is_bytes).tokens)}
    known = [i for i, token in enumerate(tokens) if token in ids]
    theirs = [ids[tokens[i]] for i in known]
    weights = dict(start.weights)
    for name in ("embedding.weight", "output.weight"):
        rows = decoder.state_dict()[name].to("cpu", copy=True)
        rows[known] = weights[name][theirs]
        weights[name] = rows
    decoder.load_state_dict(weights)
    added = [token for token in tokens if token not in ids]
    dropped = sorted(ids.keys() - set(tokens))
    return f"{len(known)} characters mapped, {_counted(added)} added, {_counted(dropped)} dropped"


def changes(before: dict[str, str | int], now: dict[str, str | int]) -> str:
    """In words, what differs between two machines, of which `before` may be a stranger's."""
    names = sorted(name for name in {*before, *now} - {"date"} if before.get(name) != now.get(name))
    listed = ", ".join(f"{name} {now.get(name)} (was {before.get(name)})" for name in names)
    return f"; not to the last digit as without interruption: {' '.join(visible(listed).split())}" if listed else ""


def _counted(characters: Sequence[str]) -> str:
    more = "…" if len(characters) > LISTED else ""
    return f"{len(characters)} ({quoted(''.join(characters[:LISTED]))}{more})" if characters else "0"


def _scalar(setting: object) -> int | float | str | None:
    """A setting as TensorBoard and JSON can hold it: in all runs a number or in all a text, if it is not null."""
    listed = ", ".join(map(str, setting)) if isinstance(setting, list) else str(setting)
    return setting if isinstance(setting, int | float | None) else visible(listed)


def _yaml(value: object) -> str:
    return f"[{', '.join(map(_yaml, value))}]" if isinstance(value, list) else str(getattr(value, "value", value))
