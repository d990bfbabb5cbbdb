"""Format of head statistics: what every head does in a sample of the validation split.

Knows numpy and nothing else; format.py is the page of all kinds, static/statistics.js the same for the browser.
"""

import math
from dataclasses import dataclass

import numpy as np

from attention_tab.blob import (
    array,
    expect,
    field,
    from_triangles,
    heads_of,
    length_of,
    metric_rows,
    pack,
    texts,
    triangles,
    unpack,
)


@dataclass(frozen=True)
class Statistics:
    """What every head does in a sample of the validation split: S sequences of at most T characters."""

    heads: list[int]  # in each layer
    sequences: list[list[str]]  # tokens of each
    metrics: dict[str, np.ndarray]  # (N,) each, over all sequences
    chance: dict[str, float]  # what each metric is if every query attends evenly; NaN where unknown
    ablations: dict[str, np.ndarray]  # by probe: (N,) rise of its loss in nats/char when a head's output is zeroed
    places: np.ndarray  # (N, P, 3) sequence, query, key: where each head looks most decidedly, best first
    decisiveness: np.ndarray  # (N, P) of those, nats; NaN: no such place
    maps: np.ndarray  # (N, P, T, T) the head's weights in the whole of that sequence


def encode(statistics: Statistics) -> bytes:
    """Raises ValueError if weights lie outside [0, 1] or above the diagonal."""
    N, P, _ = statistics.places.shape
    arrays = {
        "metrics": metric_rows(statistics.metrics, statistics.heads),
        "chance": np.array([statistics.chance.get(name, math.nan) for name in statistics.metrics], np.float32),
        "ablations": metric_rows(statistics.ablations, statistics.heads),
        "places": statistics.places.astype(np.uint16).reshape(N * P, 3),
        "decisiveness": statistics.decisiveness.astype(np.float32).reshape(N * P),
        "maps": triangles(statistics.maps.reshape(N * P, *statistics.maps.shape[2:])),
    }
    header = {"heads": statistics.heads, "sequences": statistics.sequences, "metrics": list(statistics.metrics)}
    return pack({"kind": "statistics", **header, "probes": list(statistics.ablations)}, arrays)


def decode(blob: bytes) -> Statistics:
    """Raises FormatError if `blob` holds no statistics or is damaged."""
    header, arrays = unpack(blob, "statistics")
    sequences: list[list[str]] = field(header, "sequences", list)
    expect(all(isinstance(sequence, list) for sequence in sequences), "sequences: lists of tokens")
    lengths = np.array([length_of(texts({"sequence": sequence}, "sequence")) for sequence in sequences], int)
    metrics, probes, (heads, N) = texts(header, "metrics"), texts(header, "probes"), heads_of(header)
    T = int(lengths.max(initial=0))
    measured = array(arrays, "metrics", np.float32, (len(metrics), N))
    chance = array(arrays, "chance", np.float32, (len(metrics),)).tolist()
    ablations = array(arrays, "ablations", np.float32, (len(probes), N))
    stored = array(arrays, "maps", np.uint8, (None, T * (T + 1) // 2))
    count = len(stored)
    expect(count % N == 0, "as many places of each head")
    places = array(arrays, "places", np.uint16, (count, 3)).astype(int)
    decisiveness = array(arrays, "decisiveness", np.float32, (count,))
    real = places[~np.isnan(decisiveness)]
    inside = (real[:, 0] < len(lengths)).all() and (real[:, 2] <= real[:, 1]).all()
    expect(inside and (real[:, 1] < lengths[real[:, 0]]).all(), "places: inside their sequences")
    P = count // N
    return Statistics(
        heads,
        sequences,
        dict(zip(metrics, measured, strict=True)),
        dict(zip(metrics, chance, strict=True)),
        dict(zip(probes, ablations, strict=True)),
        places.reshape(N, P, 3),
        decisiveness.reshape(N, P),
        from_triangles(stored, T).reshape(N, P, T, T),
    )
