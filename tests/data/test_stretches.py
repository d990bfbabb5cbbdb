"""data.split=blocks: stretches all over the text, of which no window reads two."""

import os
from copy import copy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.batches import Batches
from data.config import DataConfig, Source, Split
from data.corpus import Corpus
from data.encode import Encoded
from data.stretches import StretchedWindows
from data.vocabulary import Vocabulary
from errors import UserError


def corpus_of(ids: np.ndarray, context: int, **changes: Any) -> Corpus:
    config = DataConfig(source=Source.python_stdlib, **{"split": Split.blocks, **changes})
    return Corpus.of(Encoded(Vocabulary("a"), ids, ""), config, context)


def part_of(corpus: Corpus, name: str) -> StretchedWindows:
    part = getattr(corpus, name)
    assert isinstance(part, StretchedWindows)
    return part


@given(
    st.integers(20, 4000),
    st.integers(1, 12),
    st.sampled_from([0.1, 0.05, 0.5, 0.9]),
    st.sampled_from([0.0, 0.05]),
    st.integers(1, 9),
)
def test_every_window_is_of_one_stretch_and_every_target_the_character_after_its_input(
    length: int, context: int, validation: float, test: float, batch_size: int
) -> None:
    fractions = {"validation_fraction": validation, "test_fraction": test}
    try:
        corpus_of(np.arange(length), context, split=Split.tail, **fractions)
    except UserError:  # the same texts are too short
        with pytest.raises(UserError, match=r"expected at least model\.context"):
            corpus_of(np.arange(length), context, **fractions)
        return
    corpus = corpus_of(np.arange(length), context, **fractions)
    training, evaluated = part_of(corpus, "training"), part_of(corpus, "validation")
    trained, others = set(training.stretches.flatten().tolist()), set(evaluated.stretches.flatten().tolist())
    assert not trained & others
    blocks = len(evaluated.stretches)
    assert abs(len(others) - validation * length) <= blocks
    assert len(trained) + len(others) + (corpus.test.stretches.size if corpus.test else 0) > length - blocks

    batches = Batches(training, batch_size, seed=1)
    for batch in map(batches, range(2 * len(training) // batch_size + 1)):
        assert torch.equal(batch.inputs + 1, batch.targets)
        assert trained.issuperset(batch.inputs.flatten().tolist() + batch.targets.flatten().tolist())
    starts = np.concatenate([batches.chosen(step) for step in range(len(training) // batch_size + 1)])[: len(training)]
    assert len(set(starts)) == len(training)

    scored = list(evaluated.sequential(batch_size))
    assert all(torch.equal(batch.inputs + 1, batch.targets) for batch in scored)
    targets = torch.cat([batch.targets.flatten() for batch in scored]).tolist()
    assert targets == [int(each) for row in evaluated.stretches for each in row[1:]]


def test_stretches_are_long_beside_the_context_and_cover_the_text() -> None:
    rows = part_of(corpus_of(np.arange(1_000_000), 64), "validation").stretches
    assert rows.shape == (48, 2083)
    assert np.diff(rows[:, 0]).tolist() == [1_000_000 // 48] * 47
    few = part_of(corpus_of(np.arange(10_000), 64), "validation").stretches  # too small for long ones
    assert few.shape == (10, 100)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system takes no advice")
def test_mapped_and_resident_stretches_give_the_batches_of_those_in_memory(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 60_000, 50_000).astype(np.uint16)
    (tmp_path / "ids").write_bytes(ids.tobytes())
    ours, theirs = (
        part_of(corpus_of(each, 16, test_fraction=0.1), "test")
        for each in (np.memmap(tmp_path / "ids", ids.dtype), ids)
    )
    assert np.shares_memory(theirs.stretches, ids)
    np.testing.assert_array_equal(ours.stretches, theirs.stretches)
    sent, resident = ours.on(torch.device("meta")), copy(ours)
    assert isinstance(sent, StretchedWindows)
    resident.resident = torch.from_numpy(ours.ids.astype(np.int32))
    assert sent.resident is not None
    assert sent.resident.shape == resident.resident.shape
    batches, again, on_device = (Batches(each, 5, seed=3) for each in (ours, theirs, resident))
    for step in range(40):
        with patch("os.posix_fadvise", wraps=os.posix_fadvise) as advise:
            found = batches(step)
        begin = len(ids) - len(ours.ids)
        expected = [2 * (begin + each) for each in batches.chosen(step + 1)]
        assert [call.args[1] for call in advise.call_args_list] == expected
        for other in (again(step), on_device(step)):
            assert torch.equal(found.inputs, other.inputs)
            assert torch.equal(found.targets, other.targets)
