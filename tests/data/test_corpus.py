import hashlib

import pytest

from data.config import DataConfig, Source
from data.corpus import Corpus
from errors import UserError


def config(**changes: float) -> DataConfig:
    return DataConfig(source=Source.python_stdlib, **changes)  # type: ignore[arg-type]


def test_the_end_of_the_text_is_held_out() -> None:
    text = "".join(chr(97 + i % 26) for i in range(1000))
    corpus = Corpus.of(text, config(), context=8)
    assert corpus.vocabulary.decode(corpus.training) == text[:900]
    assert corpus.vocabulary.decode(corpus.validation) == text[900:]
    assert corpus.vocabulary.decode(corpus.scored) == text[899:]
    assert corpus.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_the_fraction_is_the_users() -> None:
    corpus = Corpus.of("ab" * 50, config(validation_fraction=0.25), context=8)
    assert (len(corpus.training), len(corpus.validation)) == (75, 25)


def test_an_empty_text_is_a_clear_error() -> None:
    with pytest.raises(UserError, match="expected some text to learn from, got none"):
        Corpus.of("", config(), context=8)


@pytest.mark.parametrize(("fraction", "part"), [(0.1, "validation"), (0.9, "training")])
def test_a_split_must_fill_a_context_and_the_character_after_it(fraction: float, part: str) -> None:
    Corpus.of("ab" * 45, config(validation_fraction=fraction), context=8)
    with pytest.raises(UserError, match=rf"expected at least model\.context \+ 1 = 9 characters in the {part} split"):
        Corpus.of("ab" * 42, config(validation_fraction=fraction), context=8)


def test_too_many_distinct_characters_are_taken_for_a_mistake() -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 100)))
    with pytest.raises(UserError, match=r"at most data\.max_vocabulary=99 distinct characters, got 100"):
        Corpus.of(text, config(max_vocabulary=99), context=8)
