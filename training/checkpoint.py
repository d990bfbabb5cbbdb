"""A run's memory on disk: tensors and plain values only, written whole or not at all."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from errors import UserError
from files import replacing
from model.config import AttentionKind, DecoderConfig, PositionKind, ScoringKind
from model.decoder import Decoder

FORMAT = 3  # raise when an older reader could no longer make sense of a file


@dataclass(kw_only=True)
class Checkpoint:
    """All that is needed to sample from a decoder or to go on training it."""

    model: DecoderConfig
    vocabulary: str  # its characters, in the order of their ids
    weights: dict[str, Tensor]
    step: int  # steps taken
    seed: int
    corpus_sha256: str
    training_lines: Tensor | None  # where sequences are lines: fingerprints of those trained on (n,) int64
    best_validation_loss: float
    evaluations_since_best: int
    optimizers: list[dict[str, Any]]
    scaler: dict[str, Any]  # of fp16 gradients; empty in other precisions
    generators: dict[str, Tensor]  # the state of each random generator that advances with training, by device

    def decoder(self) -> Decoder:
        """The decoder with its trained weights, on the CPU, in evaluation mode. Raises UserError if they do not fit."""
        try:
            decoder = Decoder(self.model, len(self.vocabulary))
            decoder.load_state_dict(self.weights)
        except (RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"checkpoint: its weights and its model do not fit: {_one_line(error)}") from error
        return decoder.eval()

    def save(self, file: Path) -> None:
        """Write `file`, or leave the old one as it was."""
        with replacing(file) as stream:
            torch.save(vars(self) | {"format": FORMAT, "model": _plain(self.model)}, stream)


@dataclass(frozen=True)
class CheckpointFolder:
    """Where a run keeps its last and its best checkpoint, and what all of them share."""

    directory: Path
    vocabulary: str
    seed: int
    corpus_sha256: str
    training_lines: np.ndarray | None = None

    def save(
        self,
        decoder: Decoder,
        optimizers: Sequence[torch.optim.Optimizer],
        scaler: torch.amp.GradScaler,
        step: int,
        best_validation_loss: float,
        evaluations_since_best: int,
    ) -> None:
        """Save the last checkpoint, and the best if this is it."""
        checkpoint = Checkpoint(
            model=decoder.config,
            vocabulary=self.vocabulary,
            weights=decoder.state_dict(),
            step=step,
            seed=self.seed,
            corpus_sha256=self.corpus_sha256,
            training_lines=None if self.training_lines is None else torch.from_numpy(self.training_lines),
            best_validation_loss=best_validation_loss,
            evaluations_since_best=evaluations_since_best,
            optimizers=[optimizer.state_dict() for optimizer in optimizers],
            scaler=scaler.state_dict(),
            generators=_generator_states(decoder.embedding.weight.device),
        )
        checkpoint.save(self.directory / "last.pt")
        if evaluations_since_best == 0:
            checkpoint.save(self.directory / "best.pt")


def _generator_states(device: torch.device) -> dict[str, Tensor]:
    """Dropout alone draws from the default generators; all else is drawn anew from the seed."""
    states = {"cpu": torch.get_rng_state()}
    match device.type:
        case "cuda":
            states["cuda"] = torch.cuda.get_rng_state(device)
        case "mps":
            states["mps"] = torch.mps.get_rng_state()
    return states


def _plain(config: DecoderConfig) -> dict[str, Any]:
    """Without enums, which are more than plain values."""
    return asdict(config) | {
        "attention": [str(kind) for kind in config.attention],
        "scoring": str(config.scoring),
        "position": str(config.position),
    }


def _typed(config: dict[str, Any]) -> DecoderConfig:
    """`_plain` undone. Raises KeyError, TypeError or ValueError if it cannot be."""
    kinds = {
        "attention": [AttentionKind(kind) for kind in config["attention"]],
        "scoring": ScoringKind(config["scoring"]),
        "position": PositionKind(config["position"]),
    }
    return DecoderConfig(**config | kinds)


def load_checkpoint(file: Path) -> Checkpoint:
    """Read a checkpoint to the CPU without running anything it contains. Raises UserError if it is none."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"checkpoint: cannot read {file}: {error.strerror}") from error
    except Exception as error:  # a foreign file can go wrong in any way
        raise UserError(f"checkpoint: {file} is not a checkpoint ({type(error).__name__} while reading it)") from error
    found = content.pop("format", None) if isinstance(content, dict) else None
    if found != FORMAT:
        raise UserError(f"checkpoint: expected {file} to have format {FORMAT}, got {found}")
    try:
        checkpoint = Checkpoint(**content | {"model": _typed(content["model"])})
        if list(checkpoint.vocabulary) != sorted(set(checkpoint.vocabulary)) or not checkpoint.vocabulary:
            raise ValueError("its vocabulary is not sorted and distinct")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"checkpoint: {file} does not hold what format {FORMAT} needs: {_one_line(error)}") from error
    return checkpoint


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def find_checkpoint(named: str | None, runs: Path = Path("runs")) -> Path:
    """The file that `named` means.

    A checkpoint means itself, a folder the best of the newest run in it, "best" and "last" those of the newest run of
    all, and None the best.
    """
    if named in (None, "best", "last"):
        return _newest(runs, named or "best")
    try:
        path = Path(named).expanduser()
        path.stat()
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"checkpoint: expected a checkpoint, a run's folder, best or last, got {named!r}: {error}"
        ) from error
    return _newest(path, "best") if path.is_dir() else path


def _newest(folder: Path, which: str) -> Path:
    found = sorted(folder.glob(f"**/checkpoints/{which}.pt"), key=lambda file: file.stat().st_mtime)
    if not found:
        raise UserError(f"checkpoint: expected a trained run below {folder}/, got none; first run: python train.py")
    return found[-1]
