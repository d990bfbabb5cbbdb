import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from board.probes import choose_probes
from conf.schema import CONF
from data.config import DataConfig, LongLines, Source, Split, Unit
from data.corpus import Corpus
from data.encode import Encoded
from data.vocabulary import Vocabulary
from errors import UserError
from tests.data.helpers import split_text


def config(**changes: Any) -> DataConfig:
    return DataConfig(source=Source.python_stdlib, **changes)


def test_the_end_of_the_text_is_for_validation_and_the_very_end_for_the_test() -> None:
    text = "".join(chr(97 + i % 26) for i in range(1000))
    corpus = split_text(text, config(validation_fraction=0.15, test_fraction=0.2), context=8)
    assert corpus.test is not None
    assert corpus.validation is not None
    parts = (corpus.training, corpus.validation, corpus.test)
    assert [corpus.vocabulary.decode(part.ids) for part in parts] == [text[:650], text[649:800], text[799:]]
    assert corpus.vocabulary.decode(corpus.validation.probe(10)) == text[650:660]
    assert corpus.description == "1,000 characters, 26 distinct"
    assert corpus.training_lines is None
    assert corpus.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert split_text(text, config(), context=8).test is None


@pytest.mark.parametrize("unit", Unit)
def test_all_of_a_text_can_be_trained_on_but_for_a_test_split(unit: Unit) -> None:
    for fraction in (0.0, 0.2):
        corpus = split_text(NAMES, config(unit=unit, validation_fraction=0.0, test_fraction=fraction), context=8)
        assert corpus.validation is None
        assert (corpus.test is None) == (fraction == 0)
        length = len(corpus.training.ids) if unit is Unit.window else len(corpus.training)
        assert length == round((149 if unit is Unit.window else 50) * (1 - fraction))
        (name, ids), *_ = choose_probes(corpus, [], 8, 1, unit is Unit.line).items()
        assert name == "training"
        assert corpus.vocabulary.decode(ids) == (NAMES[1:9] if unit is Unit.window else "\n" + NAMES[:2])


def test_validation_characters_that_never_occur_in_training_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.ngrams.PIECE", 100)
    text = "a b c\n" * 400 + "xyz\n" * 50
    assert split_text(text, config(), context=8).unseen() == 150
    rest = "a" * 90 + "bcdefghijk"  # one block, whose first validation character is context
    assert split_text(rest, config(split=Split.blocks), context=8).unseen() == 9
    for other in (
        split_text("abc" * 400, config(), context=8),
        split_text(text, config(split=Split.blocks), context=8),
    ):
        assert other.unseen() == 0
    lines = split_text("\n".join(map(chr, range(97, 117))), config(unit=Unit.line), context=8)
    assert lines.unseen() == 2


@pytest.mark.parametrize("data", ["text8", "enwik8"])
def test_the_texts_of_compression_contests_are_split_as_everywhere(data: str) -> None:
    settings = OmegaConf.to_container(OmegaConf.load(Path(CONF, "data", f"{data}.yaml")))
    assert isinstance(settings, dict)
    fractions = {str(name): value for name, value in settings.items() if str(name).endswith("_fraction")}
    ids = np.broadcast_to(np.uint8(0), 100_000_000)  # takes no memory
    corpus = Corpus.of(Encoded(Vocabulary("a"), ids, ""), config(**fractions), context=512)
    assert corpus.test is not None
    assert corpus.validation is not None
    # The latter two with the character before them.
    lengths = [len(part.ids) for part in (corpus.training, corpus.validation, corpus.test)]
    assert lengths == [90_000_000, 5_000_001, 5_000_001]


@pytest.mark.parametrize(("fraction", "part"), [(0.1, "validation"), (0.9, "training")])
def test_a_split_must_fill_a_context_and_the_character_after_it(fraction: float, part: str) -> None:
    split_text("ab" * 45, config(validation_fraction=fraction), context=8)
    with pytest.raises(UserError, match=rf"expected at least model\.context \+ 1 = 9 characters in the {part} split"):
        split_text("ab" * 42, config(validation_fraction=fraction), context=8)
    with pytest.raises(UserError, match=r"characters in the test split, got 4 of 200; .* data\.test_fraction"):
        split_text("ab" * 100, config(test_fraction=0.02), context=8)


@pytest.mark.parametrize("unit", Unit)
def test_no_text_and_too_many_distinct_characters_are_taken_for_a_mistake(unit: Unit) -> None:
    with pytest.raises(UserError, match=r"expected some text to learn from, got none|got none of 0"):
        split_text("", config(unit=unit), context=8)
    text = "\n".join(map(chr, range(0x4E00, 0x4E00 + 100)))
    with pytest.raises(UserError, match=r"at most data\.max_vocabulary=99 distinct characters, got 101"):
        split_text(text, config(unit=unit, max_vocabulary=99), context=8)


NAMES = "\n".join(f"{a}{b}" for a in "abcdefghij" for b in "klmno")


def test_lines_are_split_by_the_fractions() -> None:
    whole, corpus = (split_text(NAMES, config(unit=Unit.line, test_fraction=part), context=8) for part in (0.0, 0.2))
    assert corpus.test is not None
    assert corpus.validation is not None
    assert whole.validation is not None
    assert [len(part) for part in (corpus.training, corpus.validation, corpus.test)] == [35, 5, 10]
    assert corpus.description == "50 lines, 16 distinct characters"
    assert corpus.validation.ids.tolist() == whole.validation.ids.tolist()  # the same lines, with a test or without
    with pytest.raises(
        UserError,
        match=r"in the test split, got none of 50; give more text or another data\.validation_fraction or data\.test_",
    ):
        split_text(NAMES, config(unit=Unit.line, test_fraction=0.001), context=8)


def test_the_probe_is_the_longest_validation_line() -> None:
    corpus = split_text("\n".join("a" * n for n in range(1, 21)), config(unit=Unit.line), context=30)
    assert corpus.validation is not None
    longest = max(len(line) for line in corpus.vocabulary.decode(corpus.validation.ids).split())
    assert corpus.vocabulary.decode(corpus.validation.probe(64)) == "\n" + "a" * longest
    assert corpus.vocabulary.decode(corpus.validation.probe(2)) == "\na"


def test_lines_that_are_too_long_are_described_and_the_reason_if_none_is_left() -> None:
    corpus = split_text(NAMES + "\nzzzz", config(unit=Unit.line, long_lines=LongLines.skip), context=3)
    assert corpus.description == "50 lines, 16 distinct characters; 1 of 51 lines were skipped, as they are too long"
    with pytest.raises(UserError, match=r"got none of 0 \(2 of 2 lines were skipped, as they are too long\)"):
        split_text("abc\nabd", config(unit=Unit.line, long_lines=LongLines.skip), context=3)


def test_copies_of_lines_are_counted() -> None:
    corpus = split_text("a\nb\na\na\n" * 2, config(unit=Unit.line, validation_fraction=0.5), context=8)
    assert corpus.description == "8 lines, 3 distinct characters; 6 are copies of others"
    with pytest.raises(UserError, match=r"in the validation split, got none of 5 \(4 are copies of others\)"):
        split_text("a\n" * 5, config(unit=Unit.line, validation_fraction=0.5), context=8)
