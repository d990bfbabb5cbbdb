"""A small run for the tests of this room."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.batches import Batches, Windows
from model.config import DecoderConfig
from model.decoder import Decoder
from training.board import Board
from training.checkpoint import Checkpoint
from training.config import BoardConfig, Device, Precision, RuntimeConfig, TrainingConfig
from training.folder import CheckpointFolder
from training.loop import Outcome, fit
from training.runtime import choose_runtime

CHARACTERS = "\nabcdefg"
TEXT = "abcdefg\n" * 40
IDS = np.array([CHARACTERS.index(character) for character in TEXT], dtype=np.uint8)
CPU = choose_runtime(RuntimeConfig(device=Device.cpu, precision=Precision.fp32))


def decoder(seed: int = 0, **changes: Any) -> Decoder:
    config = DecoderConfig(**{"layers": 2, "heads": 2, "width": 16, "context": 8} | changes)
    return Decoder(config, len(CHARACTERS), torch.Generator().manual_seed(seed))


def train(
    directory: Path,
    model: Decoder | None = None,
    runtime: RuntimeConfig | None = None,
    board: BoardConfig | None = None,
    last: Checkpoint | None = None,
    **changes: Any,
) -> tuple[Decoder, Outcome]:
    """Train a tiny decoder on `TEXT`: itself and what came of it."""
    config = TrainingConfig(**{"steps": 40, "batch_size": 4, "learning_rate": 1e-2, "evaluate_every": 20} | changes)
    chosen = choose_runtime(runtime or RuntimeConfig(device=Device.cpu, precision=Precision.fp32))
    model = (model or decoder()).to(chosen.device)
    torch.manual_seed(1)
    shown_as = board or BoardConfig(sample_length=5)
    with closing(Board(directory, shown_as, CHARACTERS, {"validation": IDS[:8].tolist()}, [0])) as shown:
        if last is None:
            shown.begin("steps: 40")
        batches = Batches(Windows(IDS[:256], model.config.context), config.batch_size, seed=0)
        folder = CheckpointFolder(directory / "checkpoints", CHARACTERS, corpus_sha256="0" * 64)
        held_out = Windows(IDS[255:], model.config.context)
        outcome = fit(model, batches, held_out, config, chosen, shown, folder, last)
        shown.finish(
            outcome.steps,
            {"training.steps": 40, "model.attention": "multi"},
            {"best_validation_loss": outcome.best_validation_loss},
        )
    return model, outcome
