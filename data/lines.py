"""A text as a collection of lines, each a sequence of its own: names, molecules, passwords, words."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from data.config import DataConfig, LongLines
from data.encode import Encoded
from data.text import BAR_DELAY, PIECE
from data.vocabulary import Vocabulary
from errors import UserError

LINE_BREAK = "\n"
LINES_AT_ONCE = 2**12  # few enough for a processor's cache


@dataclass(frozen=True)
class TextLines:
    """Some lines of an encoded text, which may be a np.memmap. No line is a string before it is needed."""

    text: Encoded
    starts: np.ndarray  # (lines,) positions in the text
    lengths: np.ndarray  # (lines,) without line breaks

    def where(self, chosen: np.ndarray) -> "TextLines":
        """Those of which `chosen` (lines,) is true."""
        return replace(self, starts=self.starts[chosen], lengths=self.lengths[chosen])

    def scan(self) -> tuple[np.ndarray, Vocabulary]:
        """The fingerprint of each line (lines,), and a vocabulary of what is in the lines and the line break."""
        known = self.text.vocabulary
        used = np.arange(len(known)) == known.encode(LINE_BREAK)
        found = [np.empty(0, np.int64)]
        with tqdm(desc="lines", total=len(self.starts), unit_scale=True, delay=BAR_DELAY, disable=None) as bar:
            for piece in self._pieces():
                used[piece] = True
                found.append(fingerprints(known.decode(piece)[:-1].split(LINE_BREAK)))
                bar.update(len(found[-1]))
        return np.concatenate(found), Vocabulary(known.decode(np.flatnonzero(used)))

    def encode(self, vocabulary: Vocabulary) -> np.ndarray:
        """All lines in one array of ids, with a line break before and after each."""
        known, line_break = self.text.vocabulary, vocabulary.encode(LINE_BREAK)
        id_of = np.zeros(len(known), vocabulary.dtype)
        id_of[known.encode(vocabulary.characters)] = np.arange(len(vocabulary))
        return np.concatenate([line_break, *(id_of[piece] for piece in self._pieces())])

    def _pieces(self) -> Iterator[np.ndarray]:
        """The text's ids of some lines at a time, each with a line break behind it."""
        for first in range(0, len(self.starts), LINES_AT_ONCE):
            some = slice(first, first + LINES_AT_ONCE)
            sizes = self.lengths[some] + 1
            ends = np.cumsum(sizes)
            positions = np.arange(ends[-1]) + np.repeat(self.starts[some] - ends + sizes, sizes)
            piece = self.text.ids.take(positions, mode="clip")  # behind the last line there may be no line break
            piece[ends - 1] = self.text.vocabulary.encode(LINE_BREAK)
            yield piece


def usable_lines(text: Encoded, config: DataConfig, context: int) -> tuple[TextLines, str]:
    """The lines of `text` but the empty ones, and a remark on those that are too long.

    A line and the line break before it must fit in the context. Raises UserError as `config.long_lines` says.
    """
    ids, line_break = text.ids, text.vocabulary.encode(LINE_BREAK)
    pieces = (start + np.flatnonzero(ids[start : start + PIECE] == line_break) for start in range(0, len(ids), PIECE))
    small = np.int32 if len(ids) < 2**31 - 1 else np.int64
    bounds = np.concatenate([[-1], *pieces, [len(ids)]], dtype=small)
    lines = TextLines(text, bounds[:-1] + 1, np.diff(bounds) - 1)
    lines = lines.where(lines.lengths > 0)
    short = lines.lengths < context
    if short.all():
        return lines, ""
    among = f"{np.count_nonzero(~short):,} of {len(short):,} lines"
    match config.long_lines:
        case LongLines.error:
            raise UserError(
                f"data.unit=line: expected lines of at most model.context - 1 = {context - 1} characters, got {among} "
                f"that are longer (the longest has {lines.lengths.max()}); give data.long_lines=skip, "
                "data.long_lines=cut or a larger model.context"
            )
        case LongLines.skip:
            return lines.where(short), f"{among} were skipped, as they are too long"
        case LongLines.cut:
            cut = replace(lines, lengths=np.minimum(lines.lengths, context))
            return cut, f"{among} were cut to their first {context} characters"


def split(fingerprints: np.ndarray, *fractions: float) -> tuple[np.ndarray, int]:
    """The part of each line (lines,) uint8: 0 to train on, then one for each of the `fractions`; the distinct count.

    A part is random (collections are often sorted), but the same for every seed. All copies of a line are in one part:
    none is both trained and validated on. So are lines whose fingerprints are equal by chance, which does no harm.
    """
    small = np.min_scalar_type(-len(fingerprints))
    order = np.argsort(fingerprints, kind="stable").astype(small)  # copies side by side, the first of them first
    in_order = fingerprints[order]
    is_first = np.append(True, in_order[1:] != in_order[:-1])[: len(order)]
    first, part_of, start = order[is_first], np.zeros(len(order), np.uint8), 0
    first.sort()
    shuffled = np.random.default_rng(0).permutation(len(first))
    for part, fraction in enumerate(fractions, 1):
        end = start + round(len(first) * fraction)
        part_of[first[shuffled[start:end]]] = part
        start = end
    del in_order, shuffled  # tens of bytes a line
    part_of[order] = part_of[order[is_first]][np.cumsum(is_first, dtype=small) - 1]
    return part_of, len(first)


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
    """A hash of each line (lines,), int64: a checkpoint keeps those of its training set."""
    digests = b"".join(hashlib.blake2b(line.encode(), digest_size=8).digest() for line in lines)
    return np.frombuffer(digests, "<i8").astype(np.int64)


def is_among(line: str, known: np.ndarray) -> bool:
    """Whether `line` has one of the fingerprints `known`, as one in 2^64 / len(known) other lines has, too."""
    return bool(fingerprints([line])[0] in known)
