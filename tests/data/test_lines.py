import numpy as np
import pytest

from data.config import DataConfig, LongLines, Source, Unit
from data.lines import fingerprints, is_among, join, line_beginning, split, usable_lines
from data.vocabulary import Vocabulary
from errors import UserError


def config(long_lines: LongLines = LongLines.error) -> DataConfig:
    return DataConfig(source=Source.python_stdlib, unit=Unit.line, long_lines=long_lines)


@pytest.mark.parametrize("text", ["\nab\n\n\nc\n", "ab\r\n\r\nc\r\n"])
def test_empty_lines_and_line_ends_are_left_out(text: str) -> None:
    assert usable_lines(text, config(), context=3) == (["ab", "c"], "")


def test_lines_that_do_not_fit_in_the_context_behind_a_break_are_refused_skipped_or_cut_and_counted() -> None:
    text = "ab\nabc\nabcd"
    with pytest.raises(
        UserError, match=r"at most model\.context - 1 = 2 characters, got 2 of 3 lines .* longest has 4"
    ):
        usable_lines(text, config(), context=3)
    skipped, cut = (usable_lines(text, config(kind), context=3) for kind in (LongLines.skip, LongLines.cut))
    assert skipped == (["ab"], "2 of 3 lines were skipped, as they are too long")
    assert cut == (["ab", "abc", "abc"], "2 of 3 lines were cut to their first 3 characters")


def test_lines_are_split_at_random_but_always_alike() -> None:
    lines = [f"{i:03}" for i in range(100)]
    training, validation = split(lines, 0.2)
    assert sorted(training + validation) == lines
    assert len(validation) == 20
    assert not set(validation) <= set(lines[80:])
    assert split(lines, 0.2) == (training, validation)
    assert join(["a", "bc"]) == "\na\nbc\n"


def test_a_beginning_of_a_line_is_behind_the_break_that_opens_it() -> None:
    vocabulary = Vocabulary("\nabc")
    assert line_beginning("", vocabulary, 3, "prompt") == [0]
    assert line_beginning("ca", vocabulary, 3, "prompt") == [0, 3, 1]
    for wrong in ("abc", "a\nb"):
        with pytest.raises(UserError, match=r"prompt: expected the beginning of one line, at most .* = 2 characters"):
            line_beginning(wrong, vocabulary, 3, "prompt")
    with pytest.raises(UserError, match=r"prompt: expected characters .* at column 2"):
        line_beginning("az", vocabulary, 3, "prompt")


def test_a_line_is_known_by_its_fingerprint() -> None:
    lines = ["emma", "olivia", "émile", "emma"]
    known = fingerprints(lines)
    assert known.dtype == np.int64
    assert len(known) == 3
    assert all(is_among(line, known) for line in lines)
    assert not any(is_among(line, known) for line in ("", "emm", "emma ", "Olivia"))
    assert not is_among("emma", fingerprints([]))
