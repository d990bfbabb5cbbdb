"""Format of head statistics: what every head does in a sample of the validation split.

Knows numpy and nothing else; format.py is the page of all kinds, static/statistics.js the same for the browser.
"""

from dataclasses import dataclass

import numpy as np

from attention_tab.blob import expect, length_of, metric_arrays, pack, rows, triangles, unpack


@dataclass(frozen=True)
class Statistics:
    """Behaviour of every head in a sample of the validation split: S sequences of at most T characters."""

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
        **metric_arrays(statistics.metrics, statistics.chance, statistics.heads),
        "ablations": rows(statistics.ablations, statistics.heads),
        "places": statistics.places.astype(np.uint16).reshape(N * P, 3),
        "decisiveness": statistics.decisiveness.astype(np.float32).reshape(N * P),
        "maps": triangles(statistics.maps.reshape(N * P, *statistics.maps.shape[2:])),
    }
    names = {"metrics": list(statistics.metrics), "probes": list(statistics.ablations)}
    return pack("statistics", {"heads": statistics.heads, "sequences": statistics.sequences, **names}, arrays)


def decode(blob: bytes) -> Statistics:
    """Raises FormatError if `blob` holds no statistics or is damaged."""
    content = unpack(blob, "statistics")
    sequences, heads = content.field("sequences", list), content.heads()
    expect(all(isinstance(sequence, list) for sequence in sequences), "sequences: lists of tokens")
    lengths = np.array([length_of(sequence) for sequence in sequences], int)
    metrics, chance = content.metrics(heads)
    ablations = content.rows("ablations", content.texts("probes"), heads)
    N, T = sum(heads), int(lengths.max(initial=0))
    maps = content.maps("maps", None, T)
    P, rest = divmod(len(maps), N)
    expect(rest == 0, "as many places of each head")
    places = content.array("places", np.uint16, (N * P, 3)).astype(int)
    decisiveness = content.array("decisiveness", np.float32, (N * P,))
    sequence, query, key = places[~np.isnan(decisiveness)].T
    inside = (sequence < len(lengths)).all() and (key <= query).all() and (query < lengths[sequence]).all()
    expect(inside, "places: inside their sequences")
    shaped = places.reshape(N, P, 3), decisiveness.reshape(N, P), maps.reshape(N, P, T, T)
    return Statistics(heads, sequences, metrics, chance, ablations, *shaped)
