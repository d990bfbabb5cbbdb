"""Head statistics and scores: read as they were written, or refused; and truncations of all kinds."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_tab import scores, statistics
from attention_tab.blob import FormatError
from attention_tab.format import Encoding, decode, decode_encoding, encode, encode_encoding
from tests.attention_tab.helpers import made, made_scores, made_statistics, opened, sealed

STATISTICS = made_statistics([["a", "\n", "👍"], ["b"], list("xyzw")], [2, 1])
SCORES = made_scores(3, [2, 1], "additive", "sinusoidal")
KINDS: dict[str, tuple[bytes, Callable[[bytes], Any]]] = {
    "attention": (encode(made(["a", "\n", "<", "👍"], [2, 1])), decode),
    "encoding": (encode_encoding(Encoding("sines", ["c"], np.ones((3, 1)))), decode_encoding),
    "statistics": (statistics.encode(STATISTICS), statistics.decode),
    "scores": (scores.encode(SCORES), scores.decode),
}


@given(
    sequences=st.lists(st.lists(st.characters(), min_size=1, max_size=9), min_size=1, max_size=4),
    heads=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    places=st.integers(0, 3),
    seed=st.integers(0, 2**32),
)
def test_statistics_are_read_as_they_were_written(
    sequences: list[list[str]], heads: list[int], places: int, seed: int
) -> None:
    given = made_statistics(sequences, heads, places, seed)
    found = statistics.decode(statistics.encode(given))
    assert (found.heads, found.sequences) == (heads, sequences)
    for name in ("metrics", "ablations"):
        assert getattr(found, name).keys() == getattr(given, name).keys()
        for key, values in getattr(given, name).items():
            np.testing.assert_array_equal(getattr(found, name)[key], values.astype(np.float32))
    np.testing.assert_equal(found.chance, given.chance)
    np.testing.assert_array_equal(found.decisiveness, given.decisiveness.astype(np.float32))
    np.testing.assert_array_equal(found.places, given.places)
    np.testing.assert_allclose(np.sqrt(found.maps), np.sqrt(given.maps), atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("scoring", ["dot", "bilinear", "distance", "additive", "mean"])
@pytest.mark.parametrize("position", ["rotary", "sinusoidal"])
def test_scores_are_read_to_within_their_steps(scoring: str, position: str) -> None:
    given = made_scores(5, [2, 1, 3], scoring, position)
    found = scores.decode(scores.encode(given))
    assert (found.scoring, found.position, found.heads) == (scoring, position, [2, 1, 3])
    assert len(found.layers) == len(given.layers)
    for layer, expected in zip(found.layers, given.layers, strict=True):
        assert layer.scale == expected.scale
        for name in scores.ARRAYS:
            values, wanted = getattr(layer, name), getattr(expected, name)
            assert (values is None) == (wanted is None)
            if wanted is not None:
                np.testing.assert_allclose(values, wanted, atol=np.abs(wanted).max() / 65534 * 1.001)


@pytest.mark.parametrize("kind", KINDS)
def test_every_truncation_is_refused(kind: str) -> None:
    blob, decode = KINDS[kind]
    for length in range(len(blob)):
        with pytest.raises(FormatError, match="expected"):
            decode(blob[:length])


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("statistics", {"kind": "scores"}, "a snapshot of statistics, got scores"),
        ("statistics", {"sequences": "abc"}, "sequences: list"),
        ("statistics", {"sequences": ["abc"]}, "sequences: lists of tokens"),
        ("statistics", {"sequences": [["ab"]]}, "one character each"),
        ("statistics", {"sequences": [[]]}, "a character at least"),
        ("statistics", {"sequences": [["a"] * 5] * 3}, "maps as uint8"),
        ("statistics", {"sequences": [list("abcd")]}, "places: inside their sequences"),
        ("statistics", {"heads": [4, 1]}, "metrics as float32"),
        ("statistics", {"probes": []}, "ablations as float32"),
        ("scores", {"heads": []}, "a head at least"),
        ("scores", {"heads": [2]}, "a scale of each layer"),
        ("scores", {"heads": [2, 2]}, "query_2 as int16"),
        ("scores", {"scales": [0.5, 1]}, "a scale of each layer"),
        ("scores", {"largest": {}}, "largest of query_1"),
        ("scores", {"largest": [1.0]}, "largest: dict"),
        ("scores", {"scoring": None}, "scoring: str"),
    ],
)
def test_what_lies_is_refused_and_named(kind: str, changes: dict[str, Any], message: str) -> None:
    blob, decode = KINDS[kind]
    header, arrays = opened(blob)
    with pytest.raises(FormatError, match=message):
        decode(sealed(header | changes, arrays))


@pytest.mark.parametrize(("sequence", "query", "key"), [(3, 0, 0), (0, 3, 0), (0, 1, 2), (1, 1, 0)])
def test_places_outside_their_sequences_are_refused(sequence: int, query: int, key: int) -> None:
    places = STATISTICS.places.copy()
    places[1, 0] = sequence, query, key
    with pytest.raises(FormatError, match="inside their sequences"):
        statistics.decode(statistics.encode(replace(STATISTICS, places=places)))


def test_maps_that_leak_into_the_future_are_not_written() -> None:
    maps = STATISTICS.maps.copy()
    maps[0, 0, 0, 1] = 0.5
    for wrong in maps, np.full_like(maps, math.nan):
        with pytest.raises(ValueError, match="none of them for the future"):
            statistics.encode(replace(STATISTICS, maps=wrong))
