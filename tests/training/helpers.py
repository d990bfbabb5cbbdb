"""A small run for the tests of this room."""

from collections.abc import Callable, Container
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from board.board import Board, SilentBoard
from board.config import BoardConfig
from data.batches import Batches, Sequences, Windows
from model.config import DecoderConfig
from model.decoder import Decoder
from training import loop
from training.checkpoint import Checkpoint, CheckpointFolder
from training.config import Device, Precision, RuntimeConfig, TrainingConfig
from training.device import choose_runtime
from training.distributed import current_ranks
from training.loop import Outcome, fit

CHARACTERS = "\nabcdefg"
TEXT = "abcdefg\n" * 40
IDS = np.array([CHARACTERS.index(character) for character in TEXT], dtype=np.uint8)
CPU = choose_runtime(RuntimeConfig(device=Device.cpu, precision=Precision.fp32))


def before_steps(monkeypatch: pytest.MonkeyPatch, steps: Container[int], act: Callable[[], object]) -> None:
    """Call `act` before the training steps of these numbers, from 1, counted over all that this process takes."""
    taken, step = count(1), loop.train_step

    def counted(*given: Any) -> Any:
        if next(taken) in steps:
            act()
        return step(*given)

    monkeypatch.setattr(loop, "train_step", counted)


def decoder(seed: int = 0, vocabulary: str = CHARACTERS, **changes: Any) -> Decoder:
    config = DecoderConfig(**{"layers": 2, "heads": 2, "width": 16, "context": 8} | changes)
    return Decoder(config, len(vocabulary), torch.Generator().manual_seed(seed))


def train(
    directory: Path,
    model: Decoder | None = None,
    runtime: RuntimeConfig | None = None,
    board: BoardConfig | None = None,
    last: Checkpoint | None = None,
    sequences: Sequences | None = None,
    validated: bool = True,
    **changes: Any,
) -> tuple[Decoder, Outcome]:
    """Train a tiny decoder on `TEXT`, as one of the processes that there are: itself and what came of it."""
    config = TrainingConfig(**{"steps": 40, "batch_size": 4, "learning_rate": 1e-2, "evaluate_every": 20} | changes)
    ranks, wanted = current_ranks(), runtime or RuntimeConfig(device=Device.cpu, precision=Precision.fp32)
    chosen = choose_runtime(wanted, ranks=ranks)
    model = (model or decoder()).to(chosen.device)
    told = directory, board or BoardConfig(sample_length=5), CHARACTERS, {"validation": IDS[:8].tolist()}, [0]
    with closing(Board(*told) if ranks.is_first else SilentBoard()) as shown:
        if last is None:
            shown.begin("steps: 40")
        learned = sequences or Windows(IDS[:256], model.config.context)
        batches = Batches(learned, config.batch_size, 0, ranks.rank, ranks.world_size)
        folder = CheckpointFolder(directory / "checkpoints", CHARACTERS, "0" * 64, ranks=ranks)
        validation = Windows(IDS[255:], model.config.context) if validated else None
        outcome = fit(model, batches, validation, config, chosen, shown, folder, last)
        best = outcome.best_validation_loss
        shown.finish(
            outcome.steps,
            {"training.steps": 40, "model.attention": "multi"},
            {"steps": outcome.steps} if best is None else {"best_validation_loss": best},
        )
    return model, outcome
