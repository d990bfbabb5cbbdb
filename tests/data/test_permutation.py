import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.batches import Batches, Windows
from data.permutation import LARGEST_TABLE, ROUNDS, permuted, shuffled


def keys(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(2**64, size=ROUNDS, dtype=np.uint64)


@given(st.integers(1, 3000), st.integers(0, 2**32))
def test_every_integer_comes_exactly_once(length: int, seed: int) -> None:
    found = permuted(np.arange(length), length, keys(seed))
    assert sorted(found.tolist()) == list(range(length))


@given(st.integers(10**10, 2**62), st.integers(0, 2**32))
def test_indices_of_the_longest_texts_are_permuted_one_to_one(length: int, seed: int) -> None:
    found = permuted(np.arange(99) * (length // 99), length, keys(seed))
    assert len(set(found.tolist())) == 99
    assert 0 <= found.min() <= found.max() < length


def test_two_indices_are_permuted_to_any_two_alike_often() -> None:
    drawn = np.array([permuted(np.array([0, 1]), 1000, keys(seed)) for seed in range(5_000)])
    counts = np.zeros((10, 10))
    np.add.at(counts, (drawn[:, 0] // 100, drawn[:, 1] // 100), 1)
    expected = np.full((10, 10), 5_000 / 10 * 100 / 999)  # given the first, 999 numbers are left for the second
    np.fill_diagonal(expected, 5_000 / 10 * 99 / 999)
    assert ((counts - expected) ** 2 / expected).sum() < 148  # the 99.9th percentile of chi-squared with 99


def test_neighbours_in_the_text_are_no_neighbours_in_an_epoch() -> None:
    found = shuffled(10**9, np.random.default_rng(0))(np.arange(100_000))
    assert np.corrcoef(found[1:], found[:-1])[0, 1] == pytest.approx(0, abs=0.01)
    assert (np.abs(np.diff(found)) < 10**6).mean() == pytest.approx(0.002, abs=0.0005)  # as if at random


def test_an_epoch_of_ten_billion_characters_is_shuffled_without_a_table() -> None:
    ids = np.broadcast_to(np.uint8(7), 10**10)
    assert len(ids) // 64 > LARGEST_TABLE
    tracemalloc.start()
    try:
        batches = Batches(Windows(ids, 64), 48, seed=0)
        first, later = batches.chosen(0), batches.chosen(3_000_000)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()
    assert len({*first, *later}) == 96
