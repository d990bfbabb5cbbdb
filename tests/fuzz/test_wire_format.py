"""Snapshots and encodings: what is written is read again, and anything else is refused or sound."""

import json
import zlib
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from attention_tab.format import (
    MAGIC,
    PRELUDE,
    SIZE,
    VERSION,
    Encoding,
    FormatError,
    Snapshot,
    decode,
    decode_encoding,
    encode,
    encode_encoding,
)
from tests.attention_tab.helpers import made
from tests.fuzz.cases import cases
from tests.fuzz.damage import altered, any_text, damaged

SMALL = encode(made(["a", "\n", "<", "👍"], [2, 1]))
OTHER = encode(made(["x"] * 9, [1], seed=1))
TABLE = encode_encoding(Encoding("sines", ["c", "d"], np.array([[0.5, -1], [0, 2]])))
SOUND = [SMALL, OTHER, TABLE]
numbers = st.floats(width=32)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Any that can be drawn."""
    T, heads = draw(st.integers(1, 9)), draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    N, K, candidates = sum(heads), draw(st.integers(0, 4)), draw(st.lists(any_text, min_size=1, max_size=5))
    weights = np.tril(draw(arrays(np.float32, (N, T, T), elements=st.floats(0, 1, width=32))))
    metrics = draw(st.dictionaries(any_text, arrays(np.float32, (N,), elements=numbers), max_size=3))
    return Snapshot(
        tokens=draw(st.lists(st.characters(codec=None), min_size=T, max_size=T)),
        heads=heads,
        weights=weights,
        metrics=metrics,
        loss=draw(arrays(np.float32, (T,), elements=numbers)),
        candidates=candidates,
        likeliest=draw(arrays(np.uint16, (T, K), elements=st.integers(0, len(candidates) - 1))),
        probabilities=draw(arrays(np.float32, (T, K), elements=numbers)),
    )


def check_sound(found: Snapshot) -> None:
    """All that who shows a snapshot relies on."""
    N, T, K = sum(found.heads), len(found.tokens), found.likeliest.shape[-1]
    assert found.weights.shape == (N, T, T)
    assert 0 <= found.weights.min() <= found.weights.max() <= 1
    assert not np.triu(found.weights, 1).any()
    assert all(values.shape == (N,) for values in found.metrics.values())
    assert (found.loss.shape, found.likeliest.shape, found.probabilities.shape) == ((T,), (T, K), (T, K))
    assert all(place < len(found.candidates) for place in found.likeliest.flat)
    assert all(isinstance(text, str) for text in found.tokens + found.candidates + [*found.metrics])


def check(blob: bytes) -> None:
    """Refused by both readers, or sound to one."""
    for read in (decode, decode_encoding):
        try:
            found = read(blob)
        except FormatError:
            continue
        if isinstance(found, Snapshot):
            check_sound(found)
        else:
            assert found.values.shape[1] == len(found.columns)
            assert np.isfinite(found.values).all()


def taken_apart(blob: bytes) -> tuple[Any, bytes]:
    """The header and the arrays."""
    content = zlib.decompress(blob[PRELUDE.size + SIZE.size :])
    start = SIZE.size + SIZE.unpack_from(content)[0]
    return json.loads(content[SIZE.size : start]), content[start:]


def sealed(header: Any, arrays: bytes) -> bytes:
    """With the right sizes, whatever is inside."""
    head = json.dumps(header).encode()
    content = SIZE.pack(len(head)) + head + arrays
    return PRELUDE.pack(MAGIC, VERSION) + SIZE.pack(len(content)) + zlib.compress(content)


@cases(700)
@given(snapshots())
def test_a_snapshot_is_read_as_it_was_written(given: Snapshot) -> None:
    found = decode(encode(given))
    check_sound(found)
    for name in ("tokens", "heads", "candidates"):
        assert getattr(found, name) == getattr(given, name)
    for name in ("loss", "likeliest", "probabilities"):
        np.testing.assert_array_equal(getattr(found, name), getattr(given, name))
    np.testing.assert_equal(found.metrics, given.metrics)
    np.testing.assert_allclose(np.sqrt(found.weights), np.sqrt(given.weights), atol=0.5 / 255 + 1e-6)
    np.testing.assert_array_equal(decode(encode(found)).weights, found.weights)


@cases(300)
@given(any_text, st.lists(any_text, max_size=3), st.integers(0, 4), st.data())
def test_an_encoding_is_read_as_it_was_written(name: str, columns: list[str], rows: int, data: st.DataObject) -> None:
    finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
    values = data.draw(arrays(np.float32, (rows, len(columns)), elements=finite))
    found = decode_encoding(encode_encoding(Encoding(name, columns, values)))
    assert (found.name, found.columns) == (name, columns)
    largest = float(np.abs(values).max(initial=0))
    np.testing.assert_allclose(found.values, values, atol=largest / 32767 * 1.001 + 1e-44)


@cases(600)
@given(damaged(*SOUND) | st.binary())
def test_damaged_bytes_are_refused_or_were_not_damaged(blob: bytes) -> None:
    check(blob)
    codecs: list[tuple[Any, Any]] = [(decode, encode), (decode_encoding, encode_encoding)]
    for read, again in codecs:
        try:
            found = read(blob)
        except FormatError:
            continue
        assert again(found) in SOUND  # only what is not read has changed


@cases(900)
@given(st.data())
def test_a_well_sealed_lie_is_refused_or_sound(data: st.DataObject) -> None:
    header, content = taken_apart(data.draw(st.sampled_from(SOUND)))
    check(sealed(data.draw(altered(header)), data.draw(st.just(content) | damaged(content))))
