"""Decoders that tests of sampling share."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch

from model.config import AttentionKind, DecoderConfig, PositionKind, ScoringKind
from model.decoder import Decoder
from sampling.generate import generate

CONTEXT = 12
BOTH_KINDS = [AttentionKind.single, AttentionKind.multi]
# Three prompts: longer than the context, of one id, and in between, so that rows are full at different steps.
PROMPTS = [[1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6, 0], [3], [2, 2, 5, 1, 6]]


def decoder(
    scoring: ScoringKind = ScoringKind.dot,
    position: PositionKind = PositionKind.sinusoidal,
    attention: Sequence[AttentionKind] = (AttentionKind.multi,),
    context: int = CONTEXT,
    **options: Any,
) -> Decoder:
    config = DecoderConfig(
        layers=2,
        heads=2,
        width=16,
        context=context,
        scoring=scoring,
        position=position,
        attention=list(attention),
        **options,
    )
    return Decoder(config, 7, torch.Generator().manual_seed(0)).eval()


MODEL = decoder()


def ids_of(length: int, prompt: Sequence[int] = (1, 2), **options: Any) -> list[list[int]]:
    """One list for each sample."""
    return [list(sample) for sample in zip(*islice(generate(MODEL, prompt, **options), length), strict=True)]
