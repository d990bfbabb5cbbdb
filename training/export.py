"""A checkpoint as others read it, safetensors and JSON, and back.

    python -m training.export SOURCE TARGET

From a checkpoint or a run's folder to a new folder with `model.safetensors` and `config.json`, which hold all but what
only training needs and what tells of the machine; from such a folder to a checkpoint, if TARGET ends in .pt.
"""

import argparse
import json
import math
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import torch

from errors import UserError
from files import replacing
from terminal import visible
from training.checkpoint import FORMAT, Checkpoint, checked, find_checkpoint, load_checkpoint, one_line
from training.plain import plain
from training.state import TrainingState

WEIGHTS, DESCRIPTION = "model.safetensors", "config.json"
LARGEST_HEADER = 2**22  # bytes, of the names and shapes of the weights


def export(checkpoint: Checkpoint, folder: Path) -> None:
    """Make `folder`, which must not exist, whole or not at all. Raises OSError."""
    library = _library()
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        with replacing(temporary / DESCRIPTION) as stream:
            stream.write(_described(checkpoint).encode())
        with replacing(temporary / WEIGHTS) as stream:
            stream.write(library.save(dict(checkpoint.weights), {"format": "pt"}))
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_export(folder: Path) -> Checkpoint:
    """What `export` made, as a checkpoint that remembers nothing of its optimizers. Raises UserError if it is none."""
    library = _library()
    try:
        content = json.loads(_read(folder / DESCRIPTION).decode(), parse_constant=_refuse)
        weights = _read(folder / WEIGHTS)
        if int.from_bytes(weights[:8], "little") > LARGEST_HEADER:
            raise ValueError(f"a header of {WEIGHTS} that is too large")
        if not isinstance(content, dict):
            raise ValueError(f"{DESCRIPTION} of another kind")
        if isinstance(content.get("state"), dict):
            content["state"] = plain(TrainingState()) | content["state"]
        if isinstance(content.get("training_lines"), list):
            content["training_lines"] = _row(content["training_lines"])
        beside = {"weights": library.load(weights), "run": {}, "optimizers": [], "scaler": {}}
        if strange := beside.keys() & content.keys():
            raise ValueError(f"{', '.join(sorted(strange))} in {DESCRIPTION}")
        return checked(content | beside)
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from error
    except Exception as error:  # a foreign file can go wrong in any way
        raise UserError(f"expected what this program exported in {folder}, got: {one_line(error)}") from error


def _described(checkpoint: Checkpoint) -> str:
    """As JSON, which knows no tensors and only finite numbers: what else a state can hold is what it begins with."""
    state, lines = plain(checkpoint.state), checkpoint.training_lines
    content = {
        "format": FORMAT,
        "model": plain(checkpoint.model),
        "vocabulary": checkpoint.vocabulary,
        "state": {name: value for name, value in state.items() if name != "losses" and math.isfinite(value)},
        "corpus_sha256": checkpoint.corpus_sha256,
        "training_lines": None if lines is None else lines.tolist(),
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _row(lines: list[int]) -> torch.Tensor:
    if not all(type(line) is int for line in lines):
        raise ValueError("training_lines that are not whole numbers")
    return torch.tensor(lines, dtype=torch.int64)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} in {DESCRIPTION}")


def _read(file: Path) -> bytes:
    """Raises OSError, and ValueError for what is no file."""
    if not stat.S_ISREG(file.stat().st_mode):  # a pipe would be waited for
        raise ValueError(f"{file.name} that is no file, but a folder or a device")
    return file.read_bytes()


def _library() -> ModuleType:
    try:
        import safetensors.torch
    except ImportError as error:
        how = "pip install --constraint constraints.txt --editable '.[export]'"
        raise UserError(f"expected safetensors, which is not installed: {how}") from error
    return safetensors.torch


def convert(source: str, target: Path) -> str:
    """Do what the command line asks for, and say in words what that was. Raises UserError."""
    if os.path.lexists(target):
        raise UserError(f"expected a new TARGET, got {target}, which exists")
    exported = Path(source).is_dir() and any((Path(source) / name).exists() for name in (WEIGHTS, DESCRIPTION))
    checkpoint = load_export(Path(source)) if exported else load_checkpoint(find_checkpoint(source))
    try:
        if target.suffix == ".pt":
            checkpoint.save(target)
        else:
            export(checkpoint, target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}") from error
    return f"{target}: {source}, trained for {checkpoint.step} steps"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = _Parser(prog="python -m training.export", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", metavar="SOURCE", help="a checkpoint, a run's folder, best, last, or a TARGET")
    parser.add_argument("target", type=Path, metavar="TARGET", help="a new folder, or a new checkpoint: x.pt")
    try:
        options = parser.parse_args(argv)
        print(visible(convert(options.source, options.target)))
    except UserError as mistake:
        print("export:", visible(" ".join(str(mistake).split())), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
