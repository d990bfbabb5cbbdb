"""Checkpoints: one safetensors file each, with all but the tensors as JSON in its metadata; read without trust."""

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite, prod
from pathlib import Path
from typing import Any, NoReturn

import safetensors.torch
import torch
from torch import Tensor

from errors import UserError
from files import replacing
from model.config import DecoderConfig
from model.decoder import Decoder
from training.config import from_dict, to_dict
from training.optimizer import STATE_NAMES, Learner
from training.progress import TrainingState

LAST, BEST = "last.safetensors", "best.safetensors"  # in the folder checkpoints/ of a run
OLD = ("last.pt", "best.pt")  # of formats before 6
LAST_COMMIT_FOR_OLD = "1b08082"
FORMAT = 6  # raise when an older reader could no longer make sense of a file
CONTENT, DIGEST = "charscope", "sha256"  # the texts in the metadata
CONTENT_TYPES = {"format": int, "model": dict, "vocabulary": str, "state": dict, "corpus_sha256": str}
CONTENT_TYPES |= {"run": dict, "scaler": dict}
LARGEST_HEADER = 2**25  # bytes: twice what a vocabulary of all Unicode takes; safetensors itself refuses 100 MB
LARGEST_TABLES = 2**24  # numbers in the position tables of all layers, which are computed, not read from the file
Sizes = dict[str, tuple[str, tuple[int, ...]]]  # safetensors' dtype and the shape of each tensor


@dataclass(kw_only=True)
class Checkpoint:
    """All that is needed to sample from a decoder or to resume its training."""

    model: DecoderConfig
    vocabulary: str  # its characters, in the order of their ids
    weights: dict[str, Tensor]
    state: TrainingState
    corpus_sha256: str
    training_lines: Tensor | None = None  # where sequences are lines: fingerprints of the training lines (n,) int64
    run: dict[str, Any] = field(default_factory=dict)  # JSON values: the run's configuration and machine
    optimizer_state: dict[str, Tensor] = field(default_factory=dict)  # `adamw.exp_avg.<parameter>` and the like
    scaler: dict[str, float] = field(default_factory=dict)  # of fp16 gradients; empty in other precisions

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
        content = {"format": FORMAT, "model": to_dict(self.model), "vocabulary": self.vocabulary}
        content |= {"state": to_dict(self.state), "corpus_sha256": self.corpus_sha256}
        text = json.dumps(content | {"run": self.run, "scaler": self.scaler}, allow_nan=False)
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
        model = from_dict(DecoderConfig, content["model"], "model")
        state = from_dict(TrainingState, content["state"], "state")
        if problems := model.problems() + state.problems():
            raise ValueError("; ".join(problems))
        vocabulary = content["vocabulary"]
        vocabulary.encode()  # it has no lone surrogates, which no file or terminal would take
        if not vocabulary or list(vocabulary) != sorted(set(vocabulary)):
            raise ValueError("a vocabulary that is not sorted and distinct")
        slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - it is no dict
        sizes = {name: (each.get_dtype(), tuple(each.get_shape())) for name, each in slices.items()}
        _check_sizes(model, len(vocabulary), sizes)
        tensors = {name: opened.get_tensor(name).clone() for name in sizes}  # not the mapped file, which is replaced
    if _digest(metadata[CONTENT], tensors) != metadata[DIGEST]:
        raise ValueError("damaged: its SHA-256 differs")
    weights = _below("model.", tensors)
    if not all(weight.isfinite().all() for weight in weights.values()):
        raise ValueError("weights that are not all finite")
    return Checkpoint(
        model=model,
        vocabulary=vocabulary,
        weights=weights,
        state=state,
        corpus_sha256=content["corpus_sha256"],
        training_lines=tensors.get("training_lines"),
        run=content["run"],
        optimizer_state=_below("optimizer.", tensors),
        scaler=content["scaler"],
    )


def _content(text: str) -> dict[str, Any]:
    """The JSON object of a checkpoint, with the types of its values checked. Raises ValueError."""
    content = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        newer = "; a newer version wrote it" if isinstance(found, int) and found > FORMAT else ""
        raise ValueError(f"format {found!r:.20}, where {FORMAT} is read{newer}")
    if different := CONTENT_TYPES.keys() ^ content.keys():
        raise ValueError(f"other contents than format {FORMAT} has: {', '.join(sorted(different))[:200]}")
    for name, kind in CONTENT_TYPES.items():
        if type(content[name]) is not kind:
            raise ValueError(f"{name}: expected {kind.__name__}, got {type(content[name]).__name__}")
    if not all(type(value) in (int, float) and isfinite(value) for value in content["scaler"].values()):
        raise ValueError("scaler: expected finite numbers")
    return content


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant}, which is no JSON")


def _check_sizes(model: DecoderConfig, vocabulary_size: int, sizes: Sizes) -> None:
    """Raise ValueError unless these are the tensors of a checkpoint of `model`. Allocates nothing of their size."""
    weights = sum(prod(shape) for name, (_, shape) in sizes.items() if name.startswith("model."))
    largest = max(LARGEST_TABLES, 64 * weights)
    if model.layers > len(sizes) or model.layers * model.context * model.width > largest:
        raise ValueError(f"a model of {model.layers} layers and context {model.context} in {len(sizes)} tensors")
    with torch.device("meta"):
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


def find_checkpoint(named: str | None, runs: Path = Path("runs")) -> Path:
    """The file that `named` means.

    A checkpoint means itself, a folder the best of the newest run in it, "best" and "last" those of the newest run of
    all, and None the best. Where all runs are of an older format, it is a file that `load_checkpoint` refuses by name.
    """
    if named in (None, "best", "last"):
        return _newest(runs, LAST if named == "last" else BEST)
    try:
        path = Path(named).expanduser()
        path.stat()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"checkpoint: expected a checkpoint, a run's folder, best or last, got {named!r}: {error}"
        ) from error
    return _newest(path, BEST) if path.is_dir() else path


def _newest(folder: Path, name: str) -> Path:
    for pattern in (name, *OLD):
        if found := list(folder.glob(f"**/checkpoints/{pattern}")):
            return max(found, key=lambda file: file.stat().st_mtime)
    raise UserError(f"checkpoint: expected a trained run below {folder}/, got none; first run: python train.py")


def one_line(text: object) -> str:
    """`text` from a file or about one, as a terminal may show it: ASCII, at most 300 characters."""
    return ascii(" ".join(str(text).split()))[1:-1][:300]
