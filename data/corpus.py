"""A text, encoded and split into training, validation and test."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from data.batches import Lines, Sequences, Windows
from data.config import BYTES, DataConfig, Split, Unit
from data.encode import Encoded, encode, encode_once
from data.lines import LINE_BREAK, split, usable_lines
from data.ngrams import Baselines, baselines
from data.sources import find_text
from data.stretches import StretchedWindows, Stretches
from data.vocabulary import Vocabulary
from errors import UserError

ANOTHER_FRACTION = "another data.validation_fraction or data.test_fraction"
# With data.split=blocks: as many stretches as are this long, and some of a text that is small for that.
CONTEXTS, FEWEST, MOST = 32, 10, 1000
PIECE = 2**20  # characters counted at once
FEW = 16  # distinct characters that are sooner looked for one by one


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
        line_break = self.training.line_break if isinstance(self.training, Lines) else None
        return baselines(self.training.ids, self.validation.ids, len(self.vocabulary), line_break)

    @classmethod
    def load(cls, config: DataConfig, context: int) -> "Corpus":
        """Read, encode and split the text that `config` names; the ids of a large one stay in a file, unless in lines.

        Raises UserError if there is no such text, and as `of` does.
        """
        return cls._of(encode_once(find_text(config), config), config, context)

    @classmethod
    def of(cls, text: str, config: DataConfig, context: int) -> "Corpus":
        """Encode and split `text`. Raises UserError if any part is too short for one context, or has no line."""
        return cls._of(encode(text, config.max_vocabulary), config, context)

    @classmethod
    def _of(cls, text: Encoded, config: DataConfig, context: int) -> "Corpus":
        return (cls._of_lines if config.unit == Unit.line else cls._of_windows)(text, config, context)

    @classmethod
    def _of_windows(cls, text: Encoded, config: DataConfig, context: int) -> "Corpus":
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
            stretches = text.ids[first : (blocks - 1) * size + last]
            return StretchedWindows(Stretches(stretches, last - first, size), context)

        description = f"{length:,} characters, {len(text.vocabulary)} distinct"
        if not is_tail:
            description += f"; in blocks of {size:,} characters, {validation:,} of each for validation"
        description += text.remark and f"; {text.remark}"
        return cls(
            Vocabulary(text.vocabulary.characters, config.encoding == BYTES),
            training=windows(0, start),
            validation=windows(start, end) if validation else None,
            test=windows(end, size) if test else None,
            training_lines=None,
            sha256=text.sha256,
            description=description,
        )

    @classmethod
    def _of_lines(cls, text: Encoded, config: DataConfig, context: int) -> "Corpus":
        if LINE_BREAK not in text.vocabulary.characters:  # it is one line
            whole = encode(text.vocabulary.decode(text.ids) + LINE_BREAK, config.max_vocabulary)
            text = replace(whole, sha256=text.sha256, remark=text.remark)
        lines, remark = usable_lines(text, config, context)
        remark = "; ".join(filter(None, (text.remark, remark)))
        fractions = {"validation": config.validation_fraction, "test": config.test_fraction}
        fingerprints, vocabulary = lines.scan()
        part_of, distinct = split(fingerprints, *fractions.values())
        if copies := len(part_of) - distinct:
            remark += f"{remark and '; '}{copies:,} are copies of others"
        for number, part in enumerate(("training", *fractions)):
            if fractions.get(part, 1) and not (part_of == number).any():
                raise UserError(
                    f"expected at least one line in the {part} split, got none of {len(part_of)}"
                    f"{remark and f' ({remark})'}; give more text or {ANOTHER_FRACTION}"
                )
        known = np.sort(fingerprints[part_of == 0])
        known = known[np.append(True, known[1:] != known[:-1])]  # np.unique of NumPy 2.4 takes ten times as long
        del fingerprints
        line_break = int(vocabulary.encode(LINE_BREAK)[0])
        training, validation, test = (
            Lines(lines.where(part_of == number).encode(vocabulary), context, line_break) for number in range(3)
        )
        return cls(
            Vocabulary(vocabulary.characters, config.encoding == BYTES),
            training,
            validation=validation if config.validation_fraction else None,
            test=test if config.test_fraction else None,
            training_lines=known,
            sha256=text.sha256,
            description=f"{len(part_of):,} lines, {len(vocabulary)} distinct characters" + (remark and f"; {remark}"),
        )

    def remarks(self, config: DataConfig) -> Iterator[str]:
        """Lines for people on the text and on what its validation split, if there is one, can tell."""
        yield f"text     {self.description}, from {config.path or config.source}"
        if self.validation is None:
            yield "         no validation split: no validation loss, no early stopping; the last checkpoint is the best"
        elif unseen := self.unseen():
            total = len(self.validation.ids) - 1  # the first is context
            remark = f"         {unseen:,} of {total:,} validation characters never occur in training"
            is_tail = config.unit is Unit.window and config.split is Split.tail
            yield remark + ("; data.split=blocks validates all over the text" if is_tail else "")
        if self.baselines:
            yield f"to beat  {self.baselines.describe(self.vocabulary.unit)}"

    def unseen(self) -> int:
        """The number of validation characters that never occur in training.

        Training is read only until all characters of validation have occurred.
        """
        assert self.validation is not None
        counts = np.zeros(len(self.vocabulary), np.int64)
        for piece in _pieces(self.validation.ids):
            counts += np.bincount(piece, minlength=len(counts))
        counts[self.validation.ids[:1]] -= 1  # context
        absent = np.flatnonzero(counts).tolist()
        for piece in _pieces(self.training.ids):
            found = np.bincount(piece, minlength=len(counts)) if len(absent) > FEW else None
            absent = [each for each in absent if (each not in piece if found is None else not found[each])]
            if not absent:
                break
        return int(counts[absent].sum())


def _pieces(ids: np.ndarray) -> Iterator[np.ndarray]:
    return (ids[start : start + PIECE] for start in range(0, len(ids), PIECE))


def _blocks(length: int, context: int, *fractions: float) -> int:
    """The number of blocks, in each of which every split has a stretch that holds a window."""
    smallest = int(length * min(fraction for fraction in (*fractions, 1 - sum(fractions)) if fraction))
    return max(1, min(FEWEST, smallest // (context + 2)), min(MOST, smallest // (CONTEXTS * context)))
