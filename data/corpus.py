"""A text, encoded and split into training, validation and test."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data.batches import Lines, Sequences, Windows
from data.config import DataConfig, Unit
from data.encode import Encoded, encode, encode_once
from data.lines import LINE_BREAK, fingerprints, join, split, usable_lines
from data.ngrams import Baselines, baselines
from data.sources import find_text, load_text
from data.vocabulary import Vocabulary
from errors import UserError

ANOTHER_FRACTION = "another data.validation_fraction or data.test_fraction"


@dataclass(frozen=True)
class Corpus:
    """Sequences of ids, and the vocabulary to read them with. Ids are in the smallest integer type that holds them."""

    vocabulary: Vocabulary
    training: Sequences
    validation: Sequences  # behind one character of context, so that its first character has a prediction too
    test: Sequences | None  # likewise, if there is one
    training_lines: np.ndarray | None  # fingerprints of the lines to train on, if sequences are lines
    sha256: str  # of the text as UTF-8
    description: str  # its size, for people

    @cached_property
    def baselines(self) -> Baselines | None:
        """Losses of n-grams on the validation split, if there is one."""
        if not self.validation:
            return None
        line_break = self.training.line_break if isinstance(self.training, Lines) else None
        return baselines(self.training.ids, self.validation.ids, len(self.vocabulary), line_break)

    @classmethod
    def load(cls, config: DataConfig, context: int) -> "Corpus":
        """Read, encode and split the text that `config` names; the ids of a large one stay in a file, unless in lines.

        Raises UserError if there is no such text, and as `of` does.
        """
        if config.unit == Unit.line:
            return cls._of_lines(load_text(config), config, context)
        return cls._of_windows(encode_once(find_text(config), config), config, context)

    @classmethod
    def of(cls, text: str, config: DataConfig, context: int) -> "Corpus":
        """Encode and split `text`. Raises UserError if any part is too short for one context, or has no line."""
        if config.unit == Unit.line:
            return cls._of_lines(text, config, context)
        return cls._of_windows(encode(text, config.max_vocabulary), config, context)

    @classmethod
    def _of_windows(cls, text: Encoded, config: DataConfig, context: int) -> "Corpus":
        length = len(text.ids)
        test, validation = (round(length * part) for part in (config.test_fraction, config.validation_fraction))
        lengths = {"training": length - validation - test, "validation": validation, "test": test}
        for part, characters in lengths.items():
            # One more than the context: every position needs its next character.
            if characters < context + 1 and (part != "test" or config.test_fraction):
                raise UserError(
                    f"expected at least model.context + 1 = {context + 1} characters in the {part} split, got "
                    f"{characters} of {length}; give more text, a smaller model.context or {ANOTHER_FRACTION}"
                )
        start, end = lengths["training"], length - test
        return cls(
            text.vocabulary,
            training=Windows(text.ids[:start], context),
            validation=Windows(text.ids[start - 1 : end], context),
            test=Windows(text.ids[end - 1 :], context) if test else None,
            training_lines=None,
            sha256=text.sha256,
            description=f"{length:,} characters, {len(text.vocabulary)} distinct",
        )

    @classmethod
    def _of_lines(cls, text: str, config: DataConfig, context: int) -> "Corpus":
        lines, remark = usable_lines(text, config, context)
        if copies := len(lines) - len(set(lines)):
            remark += f"{remark and '; '}{copies:,} are copies of others"
        fractions = {"validation": config.validation_fraction, "test": config.test_fraction}
        parts = split(lines, *fractions.values())
        for part, found in zip(("training", *fractions), parts, strict=True):
            if not found and fractions.get(part, 1):
                raise UserError(
                    f"expected at least one line in the {part} split, got none of {len(lines)}"
                    f"{remark and f' ({remark})'}; give more text or {ANOTHER_FRACTION}"
                )
        vocabulary = encode(join(lines), config.max_vocabulary).vocabulary
        line_break = int(vocabulary.encode(LINE_BREAK)[0])
        training, validation, test = (Lines(vocabulary.encode(join(part)), context, line_break) for part in parts)
        return cls(
            vocabulary,
            training,
            validation,
            test=test if config.test_fraction else None,
            training_lines=fingerprints(parts[0]),
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            description=f"{len(lines):,} lines, {len(vocabulary)} distinct characters" + (remark and f"; {remark}"),
        )
