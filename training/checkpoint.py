"""A run's memory on disk: tensors and plain values only, written whole or not at all, read without trust."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from errors import UserError
from files import replacing
from model.config import DecoderConfig
from model.decoder import Decoder
from training.archive import read_archive
from training.plain import from_plain, plain
from training.state import TrainingState

LAST, BEST = "last.pt", "best.pt"  # in the folder checkpoints/ of a run
FORMAT = 5  # raise when an older reader could no longer make sense of a file
PLACES = 2**24  # numbers that tables of positions may hold in all layers, which no weights in the file vouch for
KINDS = {"weights": dict, "vocabulary": str, "corpus_sha256": str, "run": dict, "optimizers": list, "scaler": dict}


@dataclass(kw_only=True)
class Checkpoint:
    """All that is needed to sample from a decoder or to go on training it."""

    model: DecoderConfig
    vocabulary: str  # its characters, in the order of their ids
    weights: dict[str, Tensor]
    state: TrainingState
    corpus_sha256: str
    training_lines: Tensor | None = None  # where sequences are lines: fingerprints of those trained on (n,) int64
    run: dict[str, Any] = field(default_factory=dict)  # plain values: what train.py was told, and where it ran
    optimizers: list[dict[int, dict[str, Tensor]]] = field(default_factory=list)  # what each remembers of a parameter
    scaler: dict[str, Any] = field(default_factory=dict)  # of fp16 gradients; empty in other precisions

    @property
    def step(self) -> int:
        """Optimizer steps that its weights have taken."""
        return self.state.step

    def decoder(self) -> Decoder:
        """The decoder with its trained weights, on the CPU, in evaluation mode."""
        decoder = Decoder(self.model, len(self.vocabulary))
        decoder.load_state_dict(self.weights)
        return decoder.eval()

    def save(self, file: Path) -> None:
        """Write `file`, or leave the old one as it was. Raises OSError if the disk does not let it."""
        content = vars(self) | {"format": FORMAT, "model": plain(self.model), "state": plain(self.state)}
        try:
            with replacing(file) as stream:
                torch.save(content, stream)
        except RuntimeError as error:  # of torch, which then writes an end that does not fit
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def load_checkpoint(file: Path) -> Checkpoint:
    """Read a checkpoint to the CPU without running anything it contains. Raises UserError if it is none.

    Nothing large is allocated before it is known that all sizes fit each other and the file.
    """
    try:
        return checked(read_archive(file, check=checked))
    except OSError as error:
        raise UserError(f"checkpoint: cannot read {file}: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"checkpoint: expected one of this program's in {file}, got: {one_line(error)}") from error


def checked(content: object) -> Checkpoint:
    """The checkpoint of which `content` is as `Checkpoint.save` writes it. Tensors may be on torch's meta device.

    Raises KeyError, TypeError or ValueError if it is anything else.
    """
    if not isinstance(content, dict) or "format" not in content:
        raise ValueError("a file of another kind")
    content = dict(content)
    found = content.pop("format")
    if found != FORMAT:
        newer = isinstance(found, int) and found > FORMAT
        raise ValueError(
            f"format {found!r:.20}, where {FORMAT} is read" + ("; a newer version wrote it" if newer else "")
        )
    if missing := {each.name for each in fields(Checkpoint)} ^ set(content):
        raise ValueError(f"other contents than format {FORMAT} has: {', '.join(sorted(map(str, missing)))[:200]}")
    for name, kind in KINDS.items():
        if not isinstance(content[name], kind):
            raise ValueError(f"{name}: expected {kind.__name__}, got {type(content[name]).__name__}")
    if not all(isinstance(value, int | float) for value in content["scaler"].values()):
        raise ValueError("a scaler of other than numbers")
    if not all(isinstance(each, dict) for each in content["optimizers"]):
        raise ValueError("optimizers that remember in another way")
    if strange := [name for name, weight in content["weights"].items() if not isinstance(weight, Tensor)]:
        raise ValueError(f"weights that are none: {', '.join(map(str, strange))}")
    model, state = (
        from_plain(DecoderConfig, content["model"], "model"),
        from_plain(TrainingState, content["state"], "state"),
    )
    checkpoint = Checkpoint(**content | {"model": model, "state": state})
    if problems := model.problems() + state.problems():
        raise ValueError("; ".join(problems))
    vocabulary = checkpoint.vocabulary
    if not isinstance(vocabulary, str) or not vocabulary or list(vocabulary) != sorted(set(vocabulary)):
        raise ValueError("a vocabulary that is not sorted and distinct")
    _check_sizes(checkpoint)
    if not all(weight.is_meta or weight.isfinite().all() for weight in checkpoint.weights.values()):
        raise ValueError("weights that are not all finite")
    return checkpoint


def _check_sizes(checkpoint: Checkpoint) -> None:
    """Raise ValueError if the weights are not those of the model. They may lack content, on torch's meta device."""
    model, weights = checkpoint.model, checkpoint.weights
    most = max(PLACES, 64 * sum(weight.numel() for weight in weights.values()))
    if model.layers > len(weights) or model.layers * model.context * model.width > most:
        raise ValueError(f"a model of {model.layers} layers and context {model.context}, with {len(weights)} weights")
    with torch.device("meta"):
        expected = _kinds(Decoder(model, len(checkpoint.vocabulary)).state_dict())
    found = _kinds(weights)
    if found != expected:
        name = next(iter(sorted(found.items() ^ expected.items(), key=str)))[0]
        raise ValueError(f"weights that do not fit its model: {name} {found.get(name)} for {expected.get(name)}")
    lines = checkpoint.training_lines
    if lines is not None and not (isinstance(lines, Tensor) and lines.dtype == torch.int64 and lines.dim() == 1):
        raise ValueError("training_lines that are no row of torch.int64")


def _kinds(weights: dict[str, Tensor]) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    return {name: (weight.dtype, tuple(weight.shape)) for name, weight in weights.items()}


def find_checkpoint(named: str | None, runs: Path = Path("runs")) -> Path:
    """The file that `named` means.

    A checkpoint means itself, a folder the best of the newest run in it, "best" and "last" those of the newest run of
    all, and None the best.
    """
    if named in (None, "best", "last"):
        return _newest(runs, f"{named or 'best'}.pt")
    try:
        path = Path(named).expanduser()
        path.stat()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"checkpoint: expected a checkpoint, a run's folder, best or last, got {named!r}: {error}"
        ) from error
    return _newest(path, BEST) if path.is_dir() else path


def _newest(folder: Path, name: str) -> Path:
    found = sorted(folder.glob(f"**/checkpoints/{name}"), key=lambda file: file.stat().st_mtime)
    if not found:
        raise UserError(f"checkpoint: expected a trained run below {folder}/, got none; first run: python train.py")
    return found[-1]


def one_line(error: Exception) -> str:
    return ascii(" ".join(str(error).split()))[1:-1][:300]
