"""Snapshots and encodings for the browser: damaged or crafted ones are refused or sound."""

from contextlib import suppress
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attention_tab import scores, statistics
from attention_tab.blob import FormatError
from attention_tab.format import Encoding, Snapshot, decode, decode_encoding, encode, encode_encoding
from tests.attention_tab.helpers import made, made_scores, made_statistics, opened, sealed
from tests.fuzz.damage import altered, damaged

SMALL = encode(made(["a", "\n", "<", "👍"], [2, 1]))
OTHER = encode(made(["x"] * 9, [1], seed=1))
TABLE = encode_encoding(Encoding("sines", ["c", "d"], np.array([[0.5, -1], [0, 2]])))
STATISTICS = statistics.encode(made_statistics([["a", "\n"], ["👍"], list("xyz")], [2, 1]))
SCORES = scores.encode(made_scores(3, [2, 1], "additive", "sinusoidal"))
SOUND = [SMALL, OTHER, TABLE, STATISTICS, SCORES]
CODECS: list[tuple[Any, Any]] = [
    (decode, encode),
    (decode_encoding, encode_encoding),
    (statistics.decode, statistics.encode),
    (scores.decode, scores.encode),
]


def check_sound(found: Snapshot) -> None:
    """Assert all that the tab relies on."""
    N, T, K = sum(found.heads), len(found.tokens), found.likeliest.shape[-1]
    assert found.weights.shape == (N, T, T)
    assert 0 <= found.weights.min() <= found.weights.max() <= 1
    assert not np.triu(found.weights, 1).any()
    assert all(values.shape == (N,) for values in found.metrics.values())
    assert (found.loss.shape, found.likeliest.shape, found.probabilities.shape) == ((T,), (T, K), (T, K))
    assert all(index < len(found.candidates) for index in found.likeliest.flat)
    assert all(isinstance(text, str) for text in found.tokens + found.candidates + [*found.metrics])


def check(blob: bytes) -> None:
    """Refused by all readers, or sound to one."""
    with suppress(FormatError):
        check_sound(decode(blob))
    with suppress(FormatError):
        table = decode_encoding(blob)
        assert table.values.shape[1] == len(table.columns)
        assert np.isfinite(table.values).all()
    with suppress(FormatError):
        measured = statistics.decode(blob)
        N, P, _ = measured.places.shape
        lengths = [*map(len, measured.sequences)]
        assert (N, measured.maps.shape) == (sum(measured.heads), (N, P, *2 * [max(lengths, default=0)]))
        known = measured.places[~np.isnan(measured.decisiveness)]
        assert all(key <= query < lengths[sequence] for sequence, query, key in known)
    with suppress(FormatError):
        for layer, H in zip((read := scores.decode(blob)).layers, read.heads, strict=False):
            assert layer.query.shape == layer.key.shape
            assert len(layer.query) == H
            assert np.isfinite(layer.query).all()


@given(damaged(*SOUND) | st.binary())
def test_damaged_bytes_are_refused_or_were_not_damaged(blob: bytes) -> None:
    check(blob)
    for read, again in CODECS:
        with suppress(FormatError):
            assert again(read(blob)) in SOUND  # only what is not read has changed


@given(st.data())
def test_a_well_sealed_lie_is_refused_or_sound(data: st.DataObject) -> None:
    header, content = opened(data.draw(st.sampled_from(SOUND)))
    check(sealed(data.draw(altered(header)), data.draw(st.just(content) | damaged(content))))
