"""Checkpoints: one safetensors file each, with all but the tensors as JSON in its metadata; read without trust."""

import copy
import hashlib
import json
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from errors import UserError
from files import replacing
from model.config import DecoderConfig
from model.decoder import Decoder
from terminal import one_line
from training.config import from_dict, to_dict
from training.distributed import SINGLE_PROCESS, Ranks
from training.optimizer import STATE_NAMES, Learner
from training.run_folder import LAST, LAST_COMMIT_FOR_OLD
from training.state import TrainingState

FORMAT = 6  # raise when an older reader could no longer make sense of a file
CONTENT, DIGEST = "charscope", "sha256"  # the texts in the metadata
# Fields of the model that older files of this format lack, and what their decoders were.
ADDED = {"activation": "gelu", "token_shift": False, "position_scale": 1.0, "token_dropout": 0.0}
LARGEST_HEADER = 2**25  # bytes: twice what a vocabulary of all Unicode takes; safetensors itself refuses 100 MB
LARGEST_TABLES = 2**24  # numbers in the position tables of all layers, which are computed, not read from the file
Sizes = dict[str, tuple[str, tuple[int, ...]]]  # safetensors' dtype and the shape of each tensor


@dataclass(kw_only=True)
class _Content:
    """All of a checkpoint but its tensors, as JSON has it."""

    model: DecoderConfig
    vocabulary: str  # its characters, in the order of their ids
    state: TrainingState
    corpus_sha256: str
    run: dict[str, Any] = field(default_factory=dict)  # JSON values: the run's configuration and machine
    scaler: dict[str, int | float] = field(default_factory=dict)  # of fp16 gradients; empty in other precisions

    @property
    def is_bytes(self) -> bool:
        """Whether its characters are bytes, as the run's configuration says."""
        match self.run:
            case {"config": {"data": {"encoding": "bytes"}}}:
                return True
        return False


@dataclass(kw_only=True)
class Checkpoint(_Content):
    """All that is needed to sample from a decoder or to resume its training."""

    weights: dict[str, Tensor]
    training_lines: Tensor | None = None  # where sequences are lines: fingerprints of the training lines (n,) int64
    optimizer_state: dict[str, Tensor] = field(default_factory=dict)  # `adamw.exp_avg.<parameter>` and the like

    @property
    def step(self) -> int:
        """Optimizer steps that its weights have taken."""
        return self.state.step

    def decoder(self) -> Decoder:
        """The decoder with its trained weights, on the CPU, in evaluation mode."""
        decoder = Decoder(self.model, len(self.vocabulary))
        decoder.load_state_dict(self.weights)
        return decoder.eval()

    def restore(self, learner: Learner) -> None:
        """Load weights, optimizer and scaler into `learner`, which may share tensors with this checkpoint from then on.

        Raises UserError if they are of another way of training.
        """
        try:
            learner.load_state_dict(vars(self))
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"resume: the checkpoint does not fit the training settings: {one_line(error)}") from error

    def save(self, file: Path) -> None:
        """Write `file`, or leave the old one as it was. Raises OSError if the disk does not let it."""
        tensors = {f"model.{name}": weight for name, weight in self.weights.items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in self.optimizer_state.items()}
        if self.training_lines is not None:
            tensors["training_lines"] = self.training_lines
        tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        content = _Content(**{each.name: getattr(self, each.name) for each in fields(_Content)})
        text = json.dumps({"format": FORMAT} | to_dict(content), allow_nan=False)
        metadata = {CONTENT: text, DIGEST: _digest(text, tensors)}
        with replacing(file) as stream:  # save_file would rename a file of its own, which nobody has synced
            stream.write(safetensors.torch.save(tensors, metadata))


def load_checkpoint(file: Path) -> Checkpoint:
    """Read a checkpoint to the CPU without running anything it contains. Raises UserError if it is none.

    Nothing large is allocated before it is known that all sizes fit each other and the file.
    """
    try:
        return _read(file)
    except OSError as error:
        raise UserError(f"checkpoint: cannot read {file}: {error.strerror or one_line(error)}") from error
    except Exception as error:  # a foreign file can go wrong in any way
        raise UserError(f"checkpoint: expected one of this program's in {file}, got: {one_line(error)}") from error


def _read(file: Path) -> Checkpoint:
    if not stat.S_ISREG(file.stat().st_mode):  # reading a pipe would block
        raise ValueError("a folder or a device")
    with open(file, "rb") as stream:
        start = stream.read(8)
    if start.startswith(b"PK"):
        raise ValueError(f"a file of an older format (.pt), which commit {LAST_COMMIT_FOR_OLD} was the last to read")
    if len(start) < 8 or int.from_bytes(start, "little") > LARGEST_HEADER:
        raise ValueError("a file of another kind")
    with safetensors.safe_open(file, framework="pt") as opened:
        metadata = opened.metadata() or {}
        if set(metadata) != {CONTENT, DIGEST}:
            raise ValueError("safetensors of another program")
        content = _content(metadata[CONTENT])
        slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - it is no dict
        sizes = {name: (each.get_dtype(), tuple(each.get_shape())) for name, each in slices.items()}
        _check_sizes(content.model, len(content.vocabulary), sizes)
        tensors = {name: opened.get_tensor(name).clone() for name in sizes}  # not the mapped file, which is replaced
    if _digest(metadata[CONTENT], tensors) != metadata[DIGEST]:
        raise ValueError("damaged: its SHA-256 differs")
    weights = _below("model.", tensors)
    if not all(weight.isfinite().all() for weight in weights.values()):
        raise ValueError("weights that are not all finite")
    return Checkpoint(
        **vars(content),
        weights=weights,
        training_lines=tensors.get("training_lines"),
        optimizer_state=_below("optimizer.", tensors),
    )


def _content(text: str) -> _Content:
    """The JSON of a checkpoint, its types and values checked. Raises ValueError."""
    values = json.loads(text)
    found = values.pop("format", None) if isinstance(values, dict) else None
    if found != FORMAT:
        newer = "; a newer version wrote it" if isinstance(found, int) and found > FORMAT else ""
        raise ValueError(f"format {found!r:.20}, where {FORMAT} is read{newer}")
    if isinstance(values.get("model"), dict):
        values["model"] = ADDED | values["model"]
    content = from_dict(_Content, values, "content")
    if to_dict(content) != values:
        raise ValueError("content: fields are missing")
    if problems := content.model.problems() + content.state.problems():
        raise ValueError("; ".join(problems))
    content.vocabulary.encode()  # it has no lone surrogates, which no file or terminal would take
    if not content.vocabulary or list(content.vocabulary) != sorted(set(content.vocabulary)):
        raise ValueError("a vocabulary that is not sorted and distinct")
    if content.is_bytes and content.vocabulary[-1] > "\xff":
        raise ValueError("bytes beyond 0xff")
    return content


def _check_sizes(model: DecoderConfig, vocabulary_size: int, sizes: Sizes) -> None:
    """Raise ValueError unless these are the tensors of a checkpoint of `model`. Allocates nothing of their size."""
    weights = sum(prod(shape) for name, (_, shape) in sizes.items() if name.startswith("model."))
    largest = max(LARGEST_TABLES, 64 * weights)
    if model.layers > len(sizes) or model.layers * model.context * model.width > largest:
        raise ValueError(f"a model of {model.layers} layers and context {model.context} in {len(sizes)} tensors")
    if (least := model.block_parameter_count() + vocabulary_size * model.width) > weights:
        raise ValueError(f"a model of at least {least} parameters in tensors of {weights}")
    # Not on the meta device: it imports torch._dynamo, which takes as long as importing torch.
    shapes = {name: tuple(weight.shape) for name, weight in Decoder(model, vocabulary_size).state_dict().items()}
    expected: Sizes = {f"model.{name}": ("F32", shape) for name, shape in shapes.items()}
    optional: Sizes = {
        f"optimizer.{kind}.{key}.{name}": ("F32", () if key == "step" else shape)
        for kind, keys in STATE_NAMES.items()
        for key in keys
        for name, shape in shapes.items()
    }
    lines = sizes["training_lines"][1] if "training_lines" in sizes else ()
    optional["training_lines"] = ("I64", (*lines, 0)[:1])  # one dimension, of any length
    for name in sorted(sizes.keys() | expected.keys()):
        wanted, found = expected.get(name, optional.get(name)), sizes.get(name)
        if found != wanted:
            raise ValueError(f"tensors that do not fit its model: {name} {found} for {wanted}")


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _digest(content: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the JSON text and, by name, each tensor's name, dtype, shape and bytes, in hexadecimal."""
    digest = hashlib.sha256(content.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@dataclass
class CheckpointFolder:
    """A run's last and best checkpoint, and what all of them share. Rank 0 writes, and reads for all."""

    directory: Path
    vocabulary: str
    corpus_sha256: str
    training_lines: np.ndarray | None = None
    run: dict[str, Any] = field(default_factory=dict)  # JSON values: the run's configuration and machine
    ranks: Ranks = SINGLE_PROCESS
    _unsaved: dict[str, Checkpoint] = field(default_factory=dict)  # by the name of the file that could not be written
    _reason: str = ""  # why not

    def save(self, name: str, learner: Learner, state: TrainingState, say: Callable[[str], None]) -> None:
        """Save the checkpoint `name`, and those that could not be saved before.

        If the disk does not let it, `say` gets the reason once, the old file stays, and the next call tries again.
        """
        if not self.ranks.is_first:
            return
        self._unsaved[name] = Checkpoint(
            model=learner.decoder.config,
            vocabulary=self.vocabulary,
            state=state,
            corpus_sha256=self.corpus_sha256,
            training_lines=None if self.training_lines is None else torch.from_numpy(self.training_lines),
            run=self.run,
            **learner.state_dict(),
        )
        for file, checkpoint in list(self._unsaved.items()):
            try:
                checkpoint.save(self.directory / file)
                del self._unsaved[file]
            except OSError as error:
                if not self._reason:
                    say(f"not saved: {error.strerror}: {self.directory / file}; trying again at the next checkpoint")
                self._reason = error.strerror or str(error)
                if file == name:  # training goes on and changes its tensors; another's are copies already
                    self._unsaved[file] = copy.deepcopy(checkpoint)
        if self._reason and not self._unsaved:
            say(f"saved again: {self.directory}")
            self._reason = ""

    def check_saved(self) -> None:
        """Raise UserError if the latest checkpoints are not on the disk."""
        if self._unsaved:
            names = ", ".join(self._unsaved)
            raise UserError(f"checkpoints: expected to save {names} in {self.directory}, got: {self._reason}")

    def restore_last(self, learner: Learner) -> TrainingState:
        """Restore `learner` from the last checkpoint, on every rank, and return its state."""
        checkpoint = None
        if self.ranks.is_first:
            unsaved = copy.deepcopy(self._unsaved.get(LAST))  # it may be needed again, and training changes it
            checkpoint = unsaved or load_checkpoint(self.directory / LAST)
        checkpoint = self.ranks.broadcast(checkpoint)
        checkpoint.restore(learner)
        return checkpoint.state
