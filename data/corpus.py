"""A text, encoded and split into training, validation and test."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from data.batches import Lines, Sequences, Windows
from data.config import BYTES, DataConfig, Split, Unit
from data.encode import Encoded, encode, encode_once
from data.lines import LINE_BREAK, split, usable_lines
from data.ngrams import Baselines, baselines, pieces
from data.sources import find_text
from data.stretches import StretchedWindows
from data.vocabulary import Vocabulary
from errors import UserError

ANOTHER_FRACTION = "another data.validation_fraction or data.test_fraction"
# With data.split=blocks: as many stretches as are this long, and some of a text that is small for that.
CONTEXTS, FEWEST, MOST = 32, 10, 1000
# Of training, validation and test; what their characters are; fingerprints of lines to train on; remarks for people.
Parts = tuple[Sequence[Sequences], Vocabulary, np.ndarray | None, list[str]]


@dataclass(frozen=True)
class Corpus:
    """Sequences of ids, and the vocabulary to read them with. Ids are in the smallest integer type that holds them."""

    vocabulary: Vocabulary
    training: Sequences
    validation: Sequences | None  # if there is one; a tail is behind one character of context, for its first prediction
    test: Sequences | None  # likewise
    training_lines: np.ndarray | None  # fingerprints of the lines to train on, if sequences are lines
    sha256: str  # of the text as UTF-8
    description: str  # its size, for people

    @cached_property
    def baselines(self) -> Baselines | None:
        """Losses of n-grams on the validation split, if there is one."""
        if self.validation is None:
            return None
        training, validation = self.training, self.validation
        return baselines(training.stretches, validation.stretches, len(self.vocabulary), training.line_break)

    @classmethod
    def load(cls, config: DataConfig, context: int) -> "Corpus":
        """Read, encode and split the text that `config` names; the ids of a large one stay in a file, unless in lines.

        Raises UserError if there is no such text, and as `of` does.
        """
        return cls.of(encode_once(find_text(config), config), config, context)

    @classmethod
    def of(cls, text: Encoded, config: DataConfig, context: int) -> "Corpus":
        """Split `text`. Raises UserError if any part is too short for one context, or has no line."""
        split_text = _lines if config.unit == Unit.line else _windows
        (training, validation, test), vocabulary, known, remarks = split_text(text, config, context)
        return cls(
            Vocabulary(vocabulary.characters, config.encoding == BYTES),
            training,
            validation=validation if config.validation_fraction else None,
            test=test if config.test_fraction else None,
            training_lines=known,
            sha256=text.sha256,
            description="; ".join(filter(None, remarks)),
        )

    def remarks(self, config: DataConfig) -> Iterator[str]:
        """Lines for people on the text and on what its validation split, if there is one, can tell."""
        yield f"text     {self.description}, from {config.path or config.source}"
        if self.validation is None:
            yield "         no validation split: no validation loss, no early stopping; the last checkpoint is the best"
        elif unseen := self.unseen():
            total = self.validation.stretches[:, 1:].size  # the first is context
            is_tail = config.unit is Unit.window and config.split is Split.tail
            advice = "; data.split=blocks validates all over the text" if is_tail else ""
            yield f"         {unseen:,} of {total:,} validation characters never occur in training{advice}"
        if self.baselines:
            yield f"to beat  {self.baselines.describe(self.vocabulary.unit)}"

    def unseen(self) -> int:
        """The number of validation characters that never occur in training.

        Training is read only until all characters of validation have occurred.
        """
        assert self.validation is not None
        missing = np.zeros(len(self.vocabulary), bool)
        for piece in (scored := pieces(self.validation.stretches)):
            missing[piece[1:]] = True
        for piece in pieces(self.training.stretches):
            missing[piece] = False
            if not missing.any():
                return 0
        return sum(int(missing[piece[1:]].sum()) for piece in scored)


def _windows(text: Encoded, config: DataConfig, context: int) -> Parts:
    length, fractions = len(text.ids), {"validation": config.validation_fraction, "test": config.test_fraction}
    is_tail = config.split is Split.tail or not any(fractions.values())
    blocks = 1 if is_tail else _blocks(length, context, *fractions.values())
    size = length // blocks  # of each block: a stretch for training, one for validation and one for the test
    validation, test = (round(size * part) for part in fractions.values())
    start, end = size - validation - test, size - test
    for part, characters in {"training": start, "validation": validation, "test": test}.items():
        # One more than the context: every position needs its next character.
        if characters < context + 1 and fractions.get(part, 1):
            raise UserError(
                f"expected at least model.context + 1 = {context + 1} characters in the {part} split, got "
                f"{characters} of {length}; give more text, a smaller model.context or {ANOTHER_FRACTION}"
            )

    def windows(first: int, last: int) -> Windows:
        if is_tail:
            return Windows(text.ids[max(first - 1, 0) : last], context)
        return StretchedWindows(text.ids[first : (blocks - 1) * size + last], context, last - first, size)

    in_blocks = "" if is_tail else f"in blocks of {size:,} characters, {validation:,} of each for validation"
    remarks = [f"{length:,} characters, {len(text.vocabulary)} distinct", in_blocks, text.remark]
    return [windows(0, start), windows(start, end), windows(end, size)], text.vocabulary, None, remarks


def _lines(text: Encoded, config: DataConfig, context: int) -> Parts:
    if LINE_BREAK not in text.vocabulary.characters:  # it is one line
        text = replace(encode(text.vocabulary.decode(text.ids) + LINE_BREAK, config.max_vocabulary), remark=text.remark)
    lines, long_lines = usable_lines(text, config, context)
    fractions = {"validation": config.validation_fraction, "test": config.test_fraction}
    fingerprints, vocabulary = lines.scan()
    part_of, distinct = split(fingerprints, *fractions.values())
    copies = len(part_of) - distinct
    remarks = [*filter(None, (text.remark, long_lines, f"{copies:,} are copies of others" if copies else ""))]
    for number, part in enumerate(("training", *fractions)):
        if fractions.get(part, 1) and not (part_of == number).any():
            why = f" ({'; '.join(remarks)})" if remarks else ""
            raise UserError(
                f"expected at least one line in the {part} split, got none of {len(part_of)}{why}; give more text or "
                f"{ANOTHER_FRACTION}"
            )
    known = np.sort(fingerprints[part_of == 0])
    known = known[np.append(True, known[1:] != known[:-1])]  # np.unique of NumPy 2.4 takes ten times as long
    del fingerprints
    line_break = int(vocabulary.encode(LINE_BREAK)[0])
    parts = [Lines(lines.where(part_of == number).encode(vocabulary), context, line_break) for number in range(3)]
    return parts, vocabulary, known, [f"{len(part_of):,} lines, {len(vocabulary)} distinct characters", *remarks]


def _blocks(length: int, context: int, *fractions: float) -> int:
    """The number of blocks, in each of which every split has a stretch that holds a window."""
    smallest = int(length * min(fraction for fraction in (*fractions, 1 - sum(fractions)) if fraction))
    return max(1, min(FEWEST, smallest // (context + 2)), min(MOST, smallest // (CONTEXTS * context)))
