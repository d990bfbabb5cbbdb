"""Small checkpoints of several kinds of decoder, never trained."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from data.lines import fingerprints
from model.config import AttentionKind, DecoderConfig, PositionKind, ScoringKind
from model.decoder import Decoder
from training.checkpoint import Checkpoint
from training.state import TrainingState


def checkpoint(vocabulary: str, lines: list[str] | None = None, encoding: str = "utf8", **shape: Any) -> Checkpoint:
    config = DecoderConfig(**{"layers": 1, "heads": 2, "width": 8, "context": 8} | shape)
    return Checkpoint(
        model=config,
        vocabulary=vocabulary,
        weights=Decoder(config, len(vocabulary), torch.Generator().manual_seed(0)).state_dict(),
        state=TrainingState(),
        corpus_sha256="0" * 64,
        training_lines=None if lines is None else torch.from_numpy(fingerprints(lines)),
        run={"settings": {"seed": 0}, "ran_on": {"device": "cpu"}, "config": {"data": {"encoding": encoding}}},
        optimizer_state={"adamw.exp_avg.embedding.weight": torch.zeros(len(vocabulary), config.width)},
    )


def several() -> list[Checkpoint]:
    """One of every kind of attention, scoring and position."""
    single, multi = [AttentionKind.single], [AttentionKind.multi, AttentionKind.single]
    return [
        checkpoint("\n abcde", position=PositionKind.rotary),
        checkpoint("\n?é😀", lines=["?", "é😀"], layers=2, attention=multi, position=PositionKind.learned, bias=True),
        checkpoint("x", attention=single, scoring=ScoringKind.additive, position=PositionKind.none, width=3, context=1),
        checkpoint(" ae\u0301", scoring=ScoringKind.bilinear, position=PositionKind.sinusoidal, feed_forward=5),
        checkpoint("\n?\ufffd", lines=["?"], scoring=ScoringKind.mean, position=PositionKind.none, dropout=0.5),
        checkpoint("\0\n\x1b\U0010ffff", scoring=ScoringKind.distance, context=3),
        checkpoint("\x1ba\x80\xd0\xff", encoding="bytes"),
        checkpoint("\n?\xb0\xd0", lines=["\xd0\xb0"], encoding="bytes"),
    ]


def saved(made: Checkpoint) -> bytes:
    """The bytes of its file."""
    with TemporaryDirectory() as folder:
        made.save(file := Path(folder, "whole"))
        return file.read_bytes()
