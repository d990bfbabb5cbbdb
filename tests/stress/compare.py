"""Differences between a run and its reference: the same settings, never disturbed."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from torch import Tensor

from errors import UserError
from training.checkpoint import load_checkpoint
from training.run_folder import BEST, LAST

CLOCKS = ("seconds", "training_seconds", "characters_per_second", "date")  # names of what may differ
AT_THE_END = ("result/", "_hparams_/")  # logged again by a run that is resumed after its last step


def leaves(tree: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every value in `tree` by its name. Equal ones are bitwise equal."""
    if is_dataclass(tree):
        tree = {each.name: getattr(tree, each.name) for each in fields(tree)}
    elif isinstance(tree, list):
        tree = dict(enumerate(tree))
    if isinstance(tree, dict):
        for key, branch in tree.items():
            yield from leaves(branch, f"{name}/{key}".removeprefix("/"))
    elif isinstance(tree, Tensor):
        content = tree.reshape(-1).view(torch.uint8).numpy().tobytes()
        yield name, f"{tree.dtype} {tuple(tree.shape)} {hashlib.sha256(content).hexdigest()}"
    else:
        yield name, repr(tree)


def logged(run: Path) -> dict[str, tuple[tuple[int, bytes], ...]]:
    """Steps and values of each tag, as TensorBoard reads them."""
    events = EventAccumulator(str(run), tensor_size_guidance={}, size_guidance={"tensors": 0}).Reload()
    found = {}
    for tag in events.Tags()["tensors"]:
        values = tuple((each.step, each.tensor_proto.SerializeToString()) for each in events.Tensors(tag))
        found[tag] = tuple(dict.fromkeys(values)) if tag.startswith(AT_THE_END) else values
    return found


def everything(run: Path) -> dict[str, str]:
    """All that a finished run leaves but clocks, by name. Raises OSError or ValueError if it cannot be read."""
    parts: dict[str, Any] = {name: load_checkpoint(run / "checkpoints" / name) for name in (LAST, BEST)}
    parts["summary.json"] = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    parts["board"] = logged(run)
    parts["unfinished"] = [file.name for file in run.rglob(".*.tmp")]
    return {name: leaf for name, leaf in leaves(parts) if not name.endswith(CLOCKS)}


def differences(run: Path, reference: Path) -> list[str]:
    """The names of all values that differ."""
    try:
        return sorted({name for name, _ in everything(run).items() ^ everything(reference).items()})
    except (OSError, ValueError) as error:  # a UserError is a ValueError
        return [f"unreadable: {error}"]


def unloadable(run: Path) -> list[str]:
    """The error of each checkpoint of a run that cannot be loaded."""
    problems = []
    for file in sorted((run / "checkpoints").glob(f"*{Path(LAST).suffix}")):
        try:
            load_checkpoint(file)
        except UserError as error:
            problems.append(str(error))
    return problems


def saved_step(run: Path) -> int:
    """Step of the last checkpoint; -1 if there is none."""
    file = run / "checkpoints" / LAST
    return load_checkpoint(file).step if file.exists() else -1


def saved_at(run: Path) -> int:
    """Time of writing of the last checkpoint, in nanoseconds; 0 if there is none."""
    file = run / "checkpoints" / LAST
    return file.stat().st_mtime_ns if file.exists() else 0


def unfinished(run: Path) -> set[Path]:
    """The files that are being written, or were when the writer was killed."""
    return {file for folder in (run, run / "checkpoints") for file in folder.glob(".*.tmp")}
