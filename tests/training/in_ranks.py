"""The training runs that test_distributed.py compares, as one of several ranks: torchrun ... FOLDER [CHECKPOINT]."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from board.config import BoardConfig
from data.batches import Lines
from model.config import PositionKind, ScoringKind
from tests.training.helpers import decoder, train
from training.checkpoint import load_checkpoint
from training.config import Device, OptimizerKind, Precision, RuntimeConfig
from training.distributed import run_ranks

BREAK = 0  # the id of a line break
LINES = Lines(np.concatenate([[BREAK], *([*range(1, 2 + n % 6), BREAK] for n in range(40))]).astype(np.uint8), 8, BREAK)
UNSEEN = BoardConfig(attention_every=1000, pictures_every=1000, sample_length=0)  # which is quick

# Arguments of `train` by name: each run is to come to the same on one rank as on several.
RUNS: dict[str, dict[str, Any]] = {
    "muon": {},
    "adamw": {"optimizer": OptimizerKind.adamw},
    "micro-batches": {"batch_size": 12, "micro_batch_size": 2},
    "uneven": {"batch_size": 7, "micro_batch_size": 2},
    "dropout": {
        "batch_size": 8,
        "micro_batch_size": 2,
        "shape": {"dropout": 0.2, "attention_dropout": 0.1, "token_dropout": 0.1},
    },
    "lines": {"sequences": LINES, "batch_size": 7},
    "without validation": {"validated": False},
    "bf16": {"runtime": RuntimeConfig(device=Device.cpu, precision=Precision.bf16)},
    "fp16": {"runtime": RuntimeConfig(device=Device.cpu, precision=Precision.fp16)},
}
# Every parameter of every kind must get its gradient from all ranks.
KINDS: dict[str, dict[str, Any]] = {
    f"{scoring}, {position}": {
        "shape": {"attention": ["single", "multi"], "scoring": scoring, "position": position},
        "steps": 3,
        "evaluate_every": 3,
    }
    for scoring in ScoringKind
    for position in PositionKind
}
LONGER = 60  # steps of a run that resumes from a checkpoint of other ranks


def train_all(folder: Path, runs: dict[str, dict[str, Any]], checkpoint: Path | None) -> None:
    """Train each run in a folder of its own."""
    for name, options in runs.items():
        others = {key: value for key, value in options.items() if key != "shape"}
        train(folder / name, decoder(**options.get("shape", {})), board=UNSEEN, **others)
    if checkpoint:
        train(folder / "longer", board=UNSEEN, last=load_checkpoint(checkpoint), steps=LONGER)


if __name__ == "__main__":
    torch.set_num_threads(1)
    target, checkpoint = Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2:] else None
    run_ranks(lambda: train_all(target, RUNS | KINDS if checkpoint else RUNS, checkpoint))
