"""Format of scores: queries and keys, from which the browser computes every score's parts.

Knows numpy and nothing else; format.py is the page of all kinds, static/scores.js the same for the browser.
"""

import math
from dataclasses import dataclass

import numpy as np

from attention_tab.blob import expect, pack, quantized, unpack

ARRAYS = ("query", "key", "query_position", "key_position", "vector")


@dataclass(frozen=True)
class LayerScores:
    """Queries and keys of H heads, so that each score is a sum over columns.

    Of a dot product and bilinear: scale q k; of distance: -scale (q - k)^2 / 2; additive: vector tanh(q + k).
    """

    query: np.ndarray  # (H, T, D), after rotation or the bilinear matrix
    key: np.ndarray  # (H, T, D)
    scale: float = 1.0
    vector: np.ndarray | None = None  # (H, D) of additive scoring
    query_position: np.ndarray | None = None  # (H, T, D) part of `query` that the positional encoding makes
    key_position: np.ndarray | None = None


@dataclass(frozen=True)
class Scores:
    """Why heads attend as they do in one text: the factors of their scores."""

    scoring: str  # dot, bilinear, distance, additive or mean
    position: str  # sinusoidal, learned, rotary or none
    heads: list[int]  # in each layer
    layers: list[LayerScores]  # none for a mean


def encode(scores: Scores) -> bytes:
    arrays, largest = {}, {}
    for number, layer in enumerate(scores.layers, 1):
        for name in ARRAYS:
            if (values := getattr(layer, name)) is not None:
                stored = f"{name}_{number}"
                arrays[stored], largest[stored] = quantized(values.reshape(-1, values.shape[-1]), np.int16)
    header = {"scoring": scores.scoring, "position": scores.position, "heads": scores.heads, "largest": largest}
    return pack("scores", {**header, "scales": [layer.scale for layer in scores.layers]}, arrays)


def decode(blob: bytes) -> Scores:
    """Raises FormatError if `blob` holds no scores or is damaged."""
    content = unpack(blob, "scores")
    heads, scales, largest = content.heads(), content.field("scales", list), content.field("largest", dict)
    expect(len(scales) in (0, len(heads)) and all(type(scale) is float for scale in scales), "a scale of each layer")
    layers, T = [], len(content.arrays.get("query_1", ())) // heads[0]
    for number, (scale, H) in enumerate(zip(scales, heads, strict=False), 1):
        D = content.array(f"query_{number}", np.int16, (H * T, None)).shape[1]
        found: dict[str, np.ndarray | None] = dict.fromkeys(ARRAYS)
        for name in ARRAYS:
            stored, shape = f"{name}_{number}", (H, D) if name == "vector" else (H, T, D)
            if stored in content.arrays or name in ("query", "key"):
                rows = math.prod(shape[:-1])
                values = content.restored(stored, np.int16, (rows, D), largest.get(stored))
                found[name] = values.reshape(shape)
        layers.append(LayerScores(scale=scale, **found))  # type: ignore[arg-type]  # query and key are there
    return Scores(content.field("scoring", str), content.field("position", str), heads, layers)
