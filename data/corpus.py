"""A text, encoded and split: what is learned from, what is held out, and what is kept for the very end."""

from dataclasses import dataclass

import numpy as np

from data.batches import Lines, Sequences, Windows
from data.cache import encode_once
from data.config import DataConfig, Unit
from data.encoding import CODEPOINTS, Encoded, encoded, ids_of, survey
from data.lines import LINE_BREAK, fingerprints, joined, parted, usable_lines
from data.sources import find_text, load_text
from data.text import pieces_of
from data.vocabulary import Vocabulary
from errors import UserError


@dataclass(frozen=True)
class Corpus:
    """Sequences of ids, and the vocabulary to read them with. Ids are in the smallest integer type that holds them."""

    vocabulary: Vocabulary
    training: Sequences
    validation: Sequences  # behind one character of context, so that its first character has a prediction too
    test: Sequences | None  # likewise, if a part of the text is kept for the end
    training_lines: np.ndarray | None  # where sequences are lines: fingerprints of those to train on
    sha256: str  # of the text as UTF-8
    described: str  # its size in words

    @classmethod
    def load(cls, config: DataConfig, context: int) -> "Corpus":
        """That of the text which `config` names; if it is large, ids stay in files, but lines are always in memory.

        Raises UserError where there is no such text, and as `of` does.
        """
        match config.unit:
            case Unit.window:
                return cls._of_windows(encode_once(find_text(config), config), config, context)
            case Unit.line:
                return cls.of(load_text(config), config, context)

    @classmethod
    def of(cls, text: str, config: DataConfig, context: int) -> "Corpus":
        """Encode and split `text`. Raises UserError if any part is too short for one context, or has no line."""
        match config.unit:
            case Unit.window:
                found = survey(pieces_of(text), config.max_vocabulary)
                return cls._of_windows(encoded(ids_of(pieces_of(text), found), found), config, context)
            case Unit.line:
                return cls._of_lines(text, config, context)

    @classmethod
    def _of_windows(cls, text: Encoded, config: DataConfig, context: int) -> "Corpus":
        length = len(text.ids)
        tested = round(length * config.test_fraction)
        validation = round(length * config.validation_fraction)
        lengths = {"training": length - validation - tested, "validation": validation, "test": tested}
        for part, characters in lengths.items():
            # One more than the context: every position needs its next character.
            if characters < context + 1 and (part != "test" or config.test_fraction):
                raise UserError(
                    f"expected at least model.context + 1 = {context + 1} characters in the {part} split, got "
                    f"{characters} of {length}; give more text, a smaller model.context or another "
                    f"{_fraction_for(part)}"
                )
        start, end = lengths["training"], length - tested
        return cls(
            text.vocabulary,
            training=Windows(text.ids[:start], context),
            validation=Windows(text.ids[start - 1 : end], context),
            test=Windows(text.ids[end - 1 :], context) if tested else None,
            training_lines=None,
            sha256=text.sha256,
            described=f"{length:,} characters, {len(text.vocabulary)} distinct",
        )

    @classmethod
    def _of_lines(cls, text: str, config: DataConfig, context: int) -> "Corpus":
        sha256 = survey(pieces_of(text), most=CODEPOINTS).sha256
        lines, remark = usable_lines(text, config, context)
        if copies := len(lines) - len(set(lines)):
            remark += f"{remark and '; '}{copies:,} are copies of others"
        fractions = {"validation": config.validation_fraction, "test": config.test_fraction}
        parts = parted(lines, *fractions.values())
        for part, found in zip(("training", *fractions), parts, strict=True):
            if not found and fractions.get(part, 1):
                raise UserError(
                    f"expected at least one line in the {part} split, got none of {len(lines)}"
                    f"{remark and f' ({remark})'}; give more text or another {_fraction_for(part)}"
                )
        vocabulary = survey(pieces_of(joined(lines)), config.max_vocabulary).vocabulary
        line_break = int(vocabulary.encode(LINE_BREAK)[0])
        training, validation, test = (Lines(vocabulary.encode(joined(part)), context, line_break) for part in parts)
        return cls(
            vocabulary,
            training,
            validation,
            test=test if config.test_fraction else None,
            training_lines=fingerprints(parts[0]),
            sha256=sha256,
            described=f"{len(lines):,} lines, {len(vocabulary)} distinct characters" + (remark and f"; {remark}"),
        )


def _fraction_for(part: str) -> str:
    """The name of what decides how long a part is."""
    return f"data.{'test' if part == 'test' else 'validation'}_fraction"
