from hashlib import blake2b, sha256
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from data.config import DataConfig, LongLines, Source, Unit
from data.encode import encode
from data.lines import LINE_BREAK, fingerprints, is_among, line_beginning, usable_lines
from data.vocabulary import Vocabulary
from errors import UserError
from tests.data.helpers import split_text


def config(long_lines: LongLines = LongLines.error, **changes: Any) -> DataConfig:
    return DataConfig(source=Source.python_stdlib, unit=Unit.line, long_lines=long_lines, **changes)


def usable(text: str, config: DataConfig, context: int) -> tuple[list[str], str]:
    encoded = encode(text + LINE_BREAK, 100)
    lines, remark = usable_lines(encoded, config, context)
    return encoded.vocabulary.decode(lines.encode(encoded.vocabulary))[1:].splitlines(), remark


def test_empty_lines_are_left_out() -> None:
    assert usable("\nab\n\n\nc\n", config(), context=3) == (["ab", "c"], "")
    assert usable("", config(), context=3) == ([], "")


def test_lines_that_do_not_fit_in_the_context_behind_a_break_are_refused_skipped_or_cut_and_counted() -> None:
    text = "ab\nabc\nabcd"
    with pytest.raises(
        UserError, match=r"at most model\.context - 1 = 2 characters, got 2 of 3 lines .* longest has 4"
    ):
        usable(text, config(), context=3)
    skipped, cut = (usable(text, config(kind), context=3) for kind in (LongLines.skip, LongLines.cut))
    assert skipped == (["ab"], "2 of 3 lines were skipped, as they are too long")
    assert cut == (["ab", "abc", "abc"], "2 of 3 lines were cut to their first 3 characters")


def test_a_bar_shows_how_many_lines_are_read() -> None:
    with patch("data.lines.tqdm", wraps=tqdm) as bar:
        split_text("a\nb\n\nc", config(validation_fraction=0.4), context=3)
    assert bar.call_args.kwargs["total"] == 3


def reference(lines: list[str], *fractions: float) -> list[list[str]]:
    """The split of lines as strings, which runs of earlier versions were trained with."""
    distinct = list(dict.fromkeys(lines))
    order, part_of, start = np.random.default_rng(0).permutation(len(distinct)), dict.fromkeys(distinct, 0), 0
    for part, fraction in enumerate(fractions, 1):
        end = start + round(len(distinct) * fraction)
        part_of |= dict.fromkeys((distinct[i] for i in order[start:end]), part)
        start = end
    return [[line for line in lines if part_of[line] == part] for part in range(len(fractions) + 1)]


@given(
    st.lists(st.text("aé漢 \r\x85", max_size=9), min_size=1, max_size=60).map(LINE_BREAK.join) | st.text(max_size=40),
    st.sampled_from([0.0, 0.1, 0.3]),
    st.sampled_from([0.0, 0.25]),
    st.sampled_from([LongLines.skip, LongLines.cut]),
)
def test_ids_parts_and_fingerprints_of_lines_are_those_of_lines_as_strings(
    text: str, validation: float, test: float, long_lines: LongLines
) -> None:
    data = config(long_lines, validation_fraction=validation, test_fraction=test)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data.lines.LINES_AT_ONCE", 7)
        patch.setattr("data.lines.PIECE", 10)
        try:
            corpus = split_text(text, data, context=6)
        except UserError:
            return
    lines = [line[:6] for line in text.split(LINE_BREAK) if line and (len(line) < 6 or long_lines is LongLines.cut)]
    parts = [part for part in (corpus.training, corpus.validation, corpus.test) if part]
    expected = [LINE_BREAK + "".join(map("{}\n".format, part)) for part in reference(lines, validation, test) if part]
    assert corpus.vocabulary.characters == "".join(sorted({*"".join(lines), LINE_BREAK}))
    assert [corpus.vocabulary.decode(part.ids) for part in parts] == expected
    assert corpus.training_lines is not None
    assert corpus.training_lines.tolist() == np.unique(fingerprints(expected[0].split(LINE_BREAK)[1:-1])).tolist()
    assert corpus.sha256 == sha256(text.encode()).hexdigest()


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
    assert len(np.unique(known)) == 3
    assert all(is_among(line, known) for line in lines)
    assert not any(is_among(line, known) for line in ("", "emm", "emma ", "Olivia"))
    assert not is_among("emma", fingerprints([]))
    digest = blake2b("émile".encode(), digest_size=8).digest()  # checkpoints of earlier versions have it
    assert known[2] == int.from_bytes(digest, "little", signed=True)
