"""Untrained decoders and a request to sample from one."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch

from data.vocabulary import Vocabulary
from model.config import AttentionKind, DecoderConfig, PositionKind, ScoringKind
from model.decoder import Decoder
from sampling.filters import SamplingParams
from sampling.generate import generate
from sampling.stream import SamplingRequest

CONTEXT = 12
BOTH_KINDS = [AttentionKind.single, AttentionKind.multi]
# Three prompts: longer than the context, of one id, and in between, so that rows are full at different steps.
PROMPTS = [[1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6, 0], [3], [2, 2, 5, 1, 6]]


def decoder(
    scoring: ScoringKind = ScoringKind.dot,
    position: PositionKind = PositionKind.sinusoidal,
    attention: Sequence[AttentionKind] = (AttentionKind.multi,),
    **options: Any,
) -> Decoder:
    sizes = {"layers": 2, "heads": 2, "width": 16, "context": CONTEXT} | options
    config = DecoderConfig(scoring=scoring, position=position, attention=list(attention), **sizes)
    return Decoder(config, 7, torch.Generator().manual_seed(0)).eval()


MODEL = decoder()
VOCABULARY = Vocabulary("\n abcde")
DECODER = decoder(layers=1, context=8)


def ids_of(length: int, prompt: Sequence[int] = (1, 2), **options: Any) -> list[list[int]]:
    """One list for each sample."""
    return [list(sample) for sample in zip(*islice(generate(MODEL, prompt, **options), length), strict=True)]


def request(**changed: Any) -> SamplingRequest:
    given: dict[str, Any] = {
        "decoder": DECODER,
        "vocabulary": VOCABULARY,
        "prompt": "ab",
        "ids": [2, 3],
        "length": 30,
        "stops": [],
        "params": SamplingParams(),
        "count": 1,
        "seed": 3,
        "training_lines": None,
    }
    return SamplingRequest(**given | changed)
