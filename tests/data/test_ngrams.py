"""Counted n-grams, and the baselines of a corpus. Two programs that share no code with this one gave the digits."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data import ngrams
from data.config import DataConfig, Source, Unit
from data.corpus import Corpus
from data.ngrams import baselines, kneser_ney, loss, pieces
from tests.data.helpers import split_text


def corpus(text: str, **changes: Any) -> Corpus:
    return split_text(text, DataConfig(source=Source.python_stdlib, **changes), context=8)


def test_the_digits_are_those_of_other_programs(shakespeare: str) -> None:
    text = corpus(shakespeare)
    assert text.baselines
    assert text.validation
    assert [*text.baselines.losses.values()] == pytest.approx([4.1744, 3.3473, 2.0381], abs=5e-5)
    assert text.baselines.describe("character") == (
        "4.1744 nats/char guessing evenly, 3.3473 by frequency, 2.0381 by the two characters before "
        "(interpolated trigrams)"
    )
    parts = pieces(text.training.ids), pieces(text.validation.ids)
    found = [loss(*parts, len(text.vocabulary), order, None) for order in (2, 7)]
    assert found == pytest.approx([2.4835, 1.5165], abs=5e-5)


@pytest.mark.parametrize("training", ["0", "0123", "222222222", "0110201" * 3, "0" * 40 + "1" * 20 + "2"])
def test_probabilities_are_positive_and_sum_to_one_after_any_context(training: str) -> None:
    for order in (1, 2, 3):
        seen = [int(training[i : i + order], 4) for i in range(len(training) - order + 1)]
        counts = np.bincount(np.array(seen, dtype=int), minlength=4**order)
        probabilities = kneser_ney(np.arange(4**order), counts, 4, order)
        assert probabilities.min() > 0
        np.testing.assert_allclose(probabilities.reshape(-1, 4).sum(1), 1)


def test_context_does_not_cross_lines() -> None:
    lines = ["".join(word) for word in product("abc", "de", "abc", "ed")]
    one, other = (
        np.array(["\nabcde".index(character) for character in "\n" + "\n".join(some) + "\n"])
        for some in (lines, np.random.default_rng(0).permutation(lines))
    )
    of_lines = [baselines(ids, ids, 6, line_break=0).losses["trigram"] for ids in (one, other)]
    across = [baselines(ids, ids, 6).losses["trigram"] for ids in (one, other)]
    assert of_lines[0] == pytest.approx(of_lines[1])
    assert across[0] != pytest.approx(across[1])
    found = corpus("\n".join(lines), unit=Unit.line).baselines
    assert found
    assert found.losses["trigram"] < found.losses["unigram"]


def test_a_sample_of_a_long_text_in_a_file_is_counted_and_so_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ngrams, "PIECE", 1000)
    monkeypatch.setattr(ngrams, "SAMPLE", 4)
    ids = np.memmap(tmp_path / "ids", np.uint16, "w+", shape=10_000)
    ids[:] = np.random.default_rng(0).zipf(1.5, len(ids)) % 20_000
    found = baselines(ids[:9000], ids[8999:], 20_000)
    assert (found.sample, found.losses["uniform"]) == (4003, np.log(20_000))
    assert "trigrams in a sample of 4,003 characters)" in found.describe("character")
    assert found.losses["trigram"] < found.losses["uniform"]
    assert baselines(ids[:4000], ids[3999:5000], 20_000).sample is None


def test_without_a_validation_split_there_are_none() -> None:
    nothing: Any = None
    assert replace(corpus("abc\n" * 40), validation=nothing).baselines is None
