"""Trains what test_processes.py compares, as one of several processes: torchrun ... FOLDER [CHECKPOINT]."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from board.config import BoardConfig
from data.batches import Batches, Lines, Windows
from model.config import PositionKind, ScoringKind
from tests.training.helpers import IDS, decoder, train
from training.checkpoint import load_checkpoint
from training.config import Device, OptimizerKind, Precision, RuntimeConfig
from training.distributed import current_ranks, run_ranks

BREAK = 0  # the id of a line break
LINES = Lines(np.concatenate([[BREAK], *([*range(1, 2 + n % 6), BREAK] for n in range(40))]).astype(np.uint8), 8, BREAK)
BF16 = RuntimeConfig(device=Device.cpu, precision=Precision.bf16)
FP16 = RuntimeConfig(device=Device.cpu, precision=Precision.fp16)

UNSEEN = BoardConfig(attention_every=1000, pictures_every=1000, sample_length=0)  # which is quick

# By name, what `train` is told: each run is to come to the same by one process as by several.
RUNS: dict[str, dict[str, Any]] = {
    "muon": {},
    "adamw": {"optimizer": OptimizerKind.adamw},
    "micro-batches": {"batch_size": 12, "micro_batch_size": 2},
    "uneven": {"batch_size": 7, "micro_batch_size": 2},
    "dropout": {"batch_size": 8, "micro_batch_size": 2, "shape": {"dropout": 0.2, "attention_dropout": 0.1}},
    "lines": {"sequences": LINES, "batch_size": 7},
    "bf16": {"runtime": BF16},
    "fp16": {"runtime": FP16},
}
# Every parameter of every kind must get its gradient from all processes.
KINDS: dict[str, dict[str, Any]] = {
    f"{scoring}, {position}": {
        "shape": {"attention": ["single", "multi"], "scoring": scoring, "position": position},
        "steps": 3,
        "evaluate_every": 3,
    }
    for scoring in ScoringKind
    for position in PositionKind
}


# Gone on with from a checkpoint that others have made.
LONGER = 60  # steps


def train_all(folder: Path, runs: dict[str, dict[str, Any]], checkpoint: Path | None) -> None:
    """Each run in a folder of its own, and beside them what the first batches were."""
    ranks = current_ranks()
    batches = Batches(Windows(IDS[:256], 8), 7, 0, ranks.rank, ranks.world_size)
    folder.mkdir(exist_ok=True)
    torch.save([batches(step).targets for step in range(9)], folder / f"batches_{ranks.rank}.pt")
    for name, told in runs.items():
        given = dict(told)
        train(folder / name, decoder(**given.pop("shape", {})), board=UNSEEN, **given)
    if checkpoint:
        train(folder / "longer", board=UNSEEN, last=load_checkpoint(checkpoint), steps=LONGER)


def main(folder: Path, checkpoint: Path | None) -> None:
    runs = RUNS if checkpoint is None else RUNS | KINDS
    run_ranks(lambda: train_all(*current_ranks().broadcast((folder, runs, checkpoint))), lambda told: train_all(*told))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2:] else None)
