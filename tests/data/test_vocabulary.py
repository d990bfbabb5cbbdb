import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.config import Unknown
from data.vocabulary import Vocabulary
from errors import UserError

any_text = st.text(st.characters(exclude_categories=()), min_size=1)  # lone surrogates too


@given(any_text)
def test_ids_are_indices_among_the_sorted_distinct_characters_and_decode_to_the_text(text: str) -> None:
    vocabulary = Vocabulary.of(text)
    assert vocabulary.characters == "".join(sorted(set(text)))
    assert vocabulary.encode(text).tolist() == [vocabulary.characters.index(character) for character in text]
    assert vocabulary.decode(vocabulary.encode(text)) == text


def test_an_unknown_character_is_named_with_codepoint_and_position_and_what_is_known() -> None:
    with pytest.raises(UserError) as error:
        Vocabulary.of("abc").encode("ab😀a?", "prompt")
    assert str(error.value) == (
        "prompt: expected characters of the vocabulary, got '\\U0001f600' (U+1F600) at column 3 (and at 1 more); "
        "it holds 3: 'abc'"
    )
    for text in ("!", "b", "d"):  # below, between and above the known ones
        with pytest.raises(UserError, match="at column 1;"):
            Vocabulary("ac").encode(text)
    with pytest.raises(UserError, match="at line 2, column 3;"):
        Vocabulary.of("ab\n").encode("a\nab☃b")


@given(st.binary(min_size=1))
def test_a_vocabulary_of_bytes_reads_and_writes_any_bytes(content: bytes) -> None:
    vocabulary = Vocabulary("".join(map(chr, sorted(set(content)))), is_bytes=True)
    text = content.decode("utf-8", "surrogateescape")
    ids = vocabulary.encode(text)
    assert (len(ids), vocabulary.decode(ids)) == (len(content), text)
    assert "".join(vocabulary.tokens[i] for i in ids).encode("utf-8", "surrogateescape") == content
    assert vocabulary.encode(vocabulary.opening).size == 1


def test_bytes_that_a_vocabulary_lacks_are_named_as_such() -> None:
    vocabulary = Vocabulary(" \xba\xd0", is_bytes=True)
    message = r"got '\xbe' at line 1, byte 4 (and at 1 more); it holds 3: ' \xba\xd0'"
    with pytest.raises(UserError, match=re.escape(f"prompt: expected bytes of the vocabulary, {message}")):
        vocabulary.encode("ко\n", "prompt")
    left_out = r"2 of 5 bytes were not in the vocabulary and were left out: '\n', '\xbe'"
    assert vocabulary.fitted("ко\n", Unknown.skip) == ("к\udcd0", left_out)


def test_text_opens_on_a_new_line_where_there_are_lines() -> None:
    assert Vocabulary.of("b\na").opening == "\n"
    assert Vocabulary.of("ba").opening == "a"


@pytest.mark.parametrize("characters", ["", "ba", "aa"])
def test_characters_that_are_not_sorted_and_distinct_are_refused(characters: str) -> None:
    with pytest.raises(ValueError, match="sorted distinct"):
        Vocabulary(characters)


@pytest.mark.parametrize(
    ("unknown", "fitted", "done"),
    [
        (Unknown.error, "aé☃b☃", ""),
        (Unknown.skip, "ab", "left out: '\\xe9' (U+00E9), '\\u2603' (U+2603)"),
        (Unknown.replace, "a??b?", "replaced by '?' (U+003F): '\\xe9' (U+00E9), '\\u2603' (U+2603)"),
    ],
)
def test_what_a_vocabulary_lacks_can_be_left_out_or_replaced(unknown: Unknown, fitted: str, done: str) -> None:
    text, said = Vocabulary.of("ab ?").fitted("aé☃b☃", unknown)
    assert (text, said) == (fitted, done and f"3 of 5 characters were not in the vocabulary and were {done}")
    assert Vocabulary.of("ab").fitted("abba", unknown) == ("abba", "")


def test_there_must_be_something_to_replace_by() -> None:
    with pytest.raises(UserError, match=r"unknown: expected one of .* in the vocabulary, got none"):
        Vocabulary.of("ab\n").fitted("aé", Unknown.replace)
