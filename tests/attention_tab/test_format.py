import math
import struct
import tracemalloc
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from attention_tab.blob import LARGEST_CONTENT, MAGIC, VERSION, FormatError, pack, unpack
from attention_tab.format import (
    Encoding,
    decode,
    decode_encoding,
    encode,
    encode_encoding,
    largest_text,
    metric_tag,
    parsed_metric_tag,
)
from tests.attention_tab.helpers import made, sealed

SMALL = made(["a", "\n", "<", "👍"], [2, 1])
BLOB = encode(SMALL)


@example(tokens=["\ud83d", "x"], heads=[1], seed=0)  # a lone surrogate
@given(
    tokens=st.lists(st.characters(), min_size=1, max_size=12),
    heads=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    seed=st.integers(0, 2**32),
)
def test_what_is_encoded_is_decoded_and_weights_to_within_their_steps(
    tokens: list[str], heads: list[int], seed: int
) -> None:
    given = made(tokens, heads, seed)
    found = decode(encode(given))
    assert (found.tokens, found.heads, found.candidates) == (tokens, heads, given.candidates)
    np.testing.assert_allclose(np.sqrt(found.weights), np.sqrt(given.weights), atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(found.weights, given.weights, atol=0.004)
    np.testing.assert_array_equal(found.likeliest, given.likeliest)
    np.testing.assert_array_equal(found.loss, given.loss.astype(np.float32))
    np.testing.assert_array_equal(found.probabilities, given.probabilities.astype(np.float32))
    assert found.metrics.keys() == given.metrics.keys()
    for name, values in given.metrics.items():
        np.testing.assert_array_equal(found.metrics[name], values.astype(np.float32))


@pytest.mark.parametrize(("length", "least", "most"), [(64, 0.97, 1.02), (1024, 0.89, 1.12)])
def test_even_rows_sum_to_about_one_as_docs_analysis_says(length: int, least: float, most: float) -> None:
    even = np.tril(np.ones((1, length, length), np.float32)) / np.arange(1, length + 1)[:, None]
    sums = decode(encode(replace(made(["a"] * length, [1]), weights=even))).weights.sum(-1)
    assert (round(sums.min(), 2), round(sums.max(), 2)) == (np.float32(least), np.float32(most))


@given(positions=st.integers(0, 9), columns=st.integers(0, 5), size=st.floats(0, 1e6), seed=st.integers(0, 2**32))
def test_an_encoding_is_decoded_to_within_its_steps(positions: int, columns: int, size: float, seed: int) -> None:
    values = size * np.random.default_rng(seed).uniform(-1, 1, (positions, columns))
    found = decode_encoding(encode_encoding(Encoding("sines", ["c"] * columns, values)))
    assert (found.name, found.columns) == ("sines", ["c"] * columns)
    assert found.values.shape == values.shape
    np.testing.assert_allclose(found.values, values, atol=np.abs(values).max(initial=0) / 32767 + 1e-30)


@pytest.mark.parametrize("extreme", [np.finfo(np.float32).max, np.finfo(np.float32).smallest_subnormal])
def test_an_encoding_may_have_the_largest_and_the_smallest_number_there_is(extreme: np.float32) -> None:
    values = np.array([[extreme, -extreme, 0]], np.float32)
    np.testing.assert_array_equal(decode_encoding(encode_encoding(Encoding("x", ["c"] * 3, values))).values, values)


def test_version_1_which_had_a_checksum_of_its_own_is_still_read() -> None:
    old = MAGIC + struct.pack("<II", 1, zlib.crc32(BLOB[8:])) + BLOB[8:]
    assert encode(decode(old)) == BLOB


def test_induction_of_versions_that_had_no_chance_is_that_on_a_random_string() -> None:
    content = unpack(BLOB, "attention")
    kept = {"weights", "metrics", "loss", "likeliest", "probabilities"}
    old = decode(pack("attention", content.header, {name: content.arrays[name] for name in kept}))
    assert list(old.metrics) == ["entropy", "induction_random"]
    assert (old.chance, old.value_norms, old.lens) == ({}, None, None)
    assert parsed_metric_tag("head_induction/layer_01_head_02") == ("induction_random", 1, 2)


@pytest.mark.parametrize(
    ("key", "wrong", "message"),
    [(1, -0.1, "from 0 to 1"), (1, 1.1, "from 0 to 1"), (1, math.nan, "from 0 to 1"), (3, 1e-6, "future")],
)
def test_weights_that_are_none_or_leak_into_the_future_are_refused(key: int, wrong: float, message: str) -> None:
    weights = SMALL.weights.copy()
    weights[1, 2, key] = wrong
    with pytest.raises(ValueError, match=message):
        encode(replace(SMALL, weights=weights))


@pytest.mark.parametrize("heads", [1, 36, 1000])
def test_the_largest_text_fills_a_snapshot_and_no_more(heads: int) -> None:
    T, besides = largest_text(heads), 2**23
    assert heads * T * (T + 1) / 2 + 300 * T < LARGEST_CONTENT < heads * (T + 1) * (T + 2) / 2 + besides


def header(**changes: Any) -> dict[str, Any]:
    right: dict[str, Any] = {"kind": "attention", "tokens": ["a"], "heads": [1], "metrics": [], "candidates": ["a"]}
    arrays = [
        ["weights", "uint8", [1, 1]],
        ["metrics", "float32", [0, 1]],
        ["loss", "float32", [1]],
        ["likeliest", "uint16", [1, 1]],
        ["probabilities", "float32", [1, 1]],
    ]
    return right | {"arrays": arrays} | changes


ARRAYS = b"\xff" + bytes(4) + bytes(2) + bytes(4)


def with_array(number: int, entry: Any) -> dict[str, Any]:
    changed = header()
    changed["arrays"][number] = entry
    return changed


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (sealed(header(), ARRAYS + b"x"), "nothing after the arrays"),
        (sealed(header(), ARRAYS[:-1]), "all of 'probabilities'"),
        (sealed(header(), ARRAYS, size=10), "10 bytes of content"),
        (sealed(header(), ARRAYS, size=2**20), f"{2**20} bytes of content"),
        (sealed(header(), ARRAYS, size=2**32 - 1), f"to {LARGEST_CONTENT} bytes of content, got {2**32 - 1}"),
        (sealed(header(), ARRAYS, size=0), "bytes of content, got 0"),
        (sealed(header(), ARRAYS, length=2**31), f"a header of {2**31} bytes"),
        (sealed(b"\xff\xfe{"), "JSON"),
        (sealed(b"[" * 100_000), "JSON"),
        (sealed([1]), "a header that is an object"),
        (sealed(header(kind="encoding"), ARRAYS), "a snapshot of attention, got encoding"),
        (sealed(header(tokens=[1]), ARRAYS), "tokens: texts"),
        (sealed(header(tokens="a"), ARRAYS), "tokens: list, got str"),
        (sealed(header(tokens=[]), ARRAYS), "a character at least"),
        (sealed(header(tokens=[""]), ARRAYS), "tokens: one character each"),
        (sealed(header(tokens=["ab"]), ARRAYS), "tokens: one character each"),
        (sealed(header(heads=[-1]), ARRAYS), "heads: positive"),
        (sealed(header(heads=[True]), ARRAYS), "heads: positive"),
        (sealed(header(heads=[10**12]), ARRAYS), "weights as uint8"),
        (sealed(header(arrays={}), ARRAYS), "arrays: list"),
        (sealed(with_array(0, ["weights", "object", [1, 1]]), ARRAYS), "name, type and shape"),
        (sealed(with_array(0, ["weights", "uint8", [1.5]]), ARRAYS), "the shape of 'weights'"),
        (sealed(with_array(0, ["weights", "uint8", [-1, -1]]), ARRAYS), "the shape of 'weights'"),
        (sealed(with_array(0, ["weights", "uint8", [2**62, 2**62]]), ARRAYS), "the shape of 'weights'"),
        (sealed(with_array(0, ["weights", "uint8", [50, 50]]), ARRAYS), "all of 'weights'"),
        (sealed(with_array(0, ["wages", "uint8", [1, 1]]), ARRAYS), "weights as uint8"),
        (sealed(with_array(3, ["likeliest", "uint16", [1]]), ARRAYS), "likeliest as uint16"),
        (sealed(with_array(3, ["likeliest", "uint16", [1] * 3]), ARRAYS), "name, type and shape"),
        (sealed(header(), ARRAYS[:5] + b"\x01\x00" + bytes(4)), "indices of candidates"),
        (MAGIC + struct.pack("<I", VERSION + 1) + BLOB[8:], f"format 1 to {VERSION}, got {VERSION + 1}"),
        (b"RIFF" + BLOB[4:], "a snapshot, which begins with"),
    ],
)
def test_what_lies_is_refused_and_named(blob: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        decode(blob)


def test_a_bomb_is_never_unpacked_whole() -> None:
    bomb = MAGIC + struct.pack("<II", VERSION, 1000) + zlib.compress(bytes(10**8))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="1000 bytes of content"):
            decode(bomb)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


@given(st.text(st.characters(categories=["L"]), min_size=1), st.integers(1, 999), st.integers(1, 999))
def test_the_tag_of_a_curve_tells_metric_layer_and_head(metric: str, layer: int, head: int) -> None:
    assert parsed_metric_tag(metric_tag(metric, layer, head)) == (metric, layer, head)


@pytest.mark.parametrize("tag", ["loss/training", "head_entropy/layer_1", "head_entropy/layer_x_head_1", ""])
def test_other_tags_are_no_curves_of_heads(tag: str) -> None:
    assert parsed_metric_tag(tag) is None
