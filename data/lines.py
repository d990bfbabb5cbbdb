"""A text as a collection of lines, each a sequence of its own: names, molecules, passwords, words."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from data.config import DataConfig, LongLines
from data.vocabulary import Vocabulary
from errors import UserError

LINE_BREAK = "\n"


def usable_lines(text: str, config: DataConfig, context: int) -> tuple[list[str], str]:
    """The lines of `text` but the empty ones, without line ends, and a remark on those that are too long.

    A line and the line break before it must fit in the context. Raises UserError as `config.long_lines` says.
    """
    lines = [line for line in (line.removesuffix("\r") for line in text.split(LINE_BREAK)) if line]
    short = [line for line in lines if len(line) < context]
    if len(short) == len(lines):
        return lines, ""
    among = f"{len(lines) - len(short):,} of {len(lines):,} lines"
    match config.long_lines:
        case LongLines.error:
            longest = max(map(len, lines))
            raise UserError(
                f"data.unit=line: expected lines of at most model.context - 1 = {context - 1} characters, got {among} "
                f"that are longer (the longest has {longest}); give data.long_lines=skip, data.long_lines=cut or a "
                "larger model.context"
            )
        case LongLines.skip:
            return short, f"{among} were skipped, as they are too long"
        case LongLines.cut:
            return [line[:context] for line in lines], f"{among} were cut to their first {context} characters"


def split(lines: Sequence[str], *fractions: float) -> tuple[list[str], ...]:
    """Lines to train on and, for each of the `fractions`, a random part of the lines (collections are often sorted).

    It is the same for every seed. All copies of a line are in one part: none is both trained and validated on.
    """
    distinct = list(dict.fromkeys(lines))
    order = np.random.default_rng(0).permutation(len(distinct))
    part_of, start = dict.fromkeys(distinct, 0), 0
    for part, fraction in enumerate(fractions, 1):
        end = start + round(len(distinct) * fraction)
        part_of |= dict.fromkeys((distinct[i] for i in order[start:end]), part)
        start = end
    return tuple([line for line in lines if part_of[line] == part] for part in range(len(fractions) + 1))


def join(lines: Iterable[str]) -> str:
    """All lines in one text, with a line break before and after each."""
    return LINE_BREAK + "".join(line + LINE_BREAK for line in lines)


def line_beginning(text: str, vocabulary: Vocabulary, context: int, name: str) -> list[int]:
    """Ids of the beginning of a line, behind the line break that opens it.

    Raises UserError, which calls the text `name`, if it does not fit in one line, the context and the vocabulary.
    """
    if LINE_BREAK in text or len(vocabulary.to_characters(text)) >= context:
        raise UserError(
            f"{name}: expected the beginning of one line, at most model.context - 1 = {context - 1} "
            f"{vocabulary.unit}s, got {text[:100]!r}"
        )
    return vocabulary.encode(LINE_BREAK).tolist() + vocabulary.encode(text, name).tolist()


def fingerprints(lines: Iterable[str]) -> np.ndarray:
    """A hash of each distinct line, sorted, int64: a checkpoint keeps those of its training set."""
    return np.unique(np.fromiter(map(_fingerprint, lines), dtype=np.int64))


def is_among(line: str, known: np.ndarray) -> bool:
    """Whether `line` has one of the fingerprints `known`, as one in 2^64 / len(known) other lines has, too."""
    return _fingerprint(line) in known


def _fingerprint(line: str) -> int:
    digest = hashlib.blake2b(line.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
