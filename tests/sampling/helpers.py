"""An untrained decoder and a request to sample from it."""

from typing import Any

import torch

from data.vocabulary import Vocabulary
from model.config import DecoderConfig
from model.decoder import Decoder
from sampling.filters import SamplingParams
from sampling.stream import SamplingRequest

VOCABULARY = Vocabulary("\n abcde")
DECODER = Decoder(DecoderConfig(layers=1, heads=2, width=16, context=8), 7, torch.Generator().manual_seed(0)).eval()


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
