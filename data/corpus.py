"""A text, encoded and split: what is learned from, and what is held out."""

import hashlib
from dataclasses import dataclass

import numpy as np

from data.batches import Lines, Sequences, Windows
from data.config import DataConfig, Unit
from data.lines import LINE_BREAK, fingerprints, joined, parted, usable_lines
from data.vocabulary import PIECE, Vocabulary
from errors import UserError


@dataclass(frozen=True)
class Corpus:
    """Sequences of ids, and the vocabulary to read them with. Ids are in the smallest integer type that holds them."""

    vocabulary: Vocabulary
    training: Sequences
    held_out: Sequences  # behind one character of context, so that its first character has a prediction too
    training_lines: np.ndarray | None  # where sequences are lines: fingerprints of those to train on
    sha256: str  # of the text as UTF-8
    described: str  # its size in words

    @classmethod
    def of(cls, text: str, config: DataConfig, context: int) -> "Corpus":
        """Encode and split `text`. Raises UserError if either part is too short for one context, or has no line."""
        if not text:
            raise UserError("expected some text to learn from, got none: the source is empty")
        match config.unit:
            case Unit.window:
                return cls._of_windows(text, config, context)
            case Unit.line:
                return cls._of_lines(text, config, context)

    @classmethod
    def _of_windows(cls, text: str, config: DataConfig, context: int) -> "Corpus":
        vocabulary = _vocabulary(text, config)
        split = len(text) - round(len(text) * config.validation_fraction)
        # One more than the context: every position needs its next character.
        for part, length in (("training", split), ("validation", len(text) - split)):
            if length < context + 1:
                raise UserError(
                    f"expected at least model.context + 1 = {context + 1} characters in the {part} split, got {length} "
                    f"of {len(text)}; give more text, a smaller model.context or another data.validation_fraction"
                )
        ids = vocabulary.encode(text)
        training, held_out = Windows(ids[:split], context), Windows(ids[split - 1 :], context)
        described = f"{len(text):,} characters, {len(vocabulary)} distinct"
        return cls(vocabulary, training, held_out, None, _sha256(text), described)

    @classmethod
    def _of_lines(cls, text: str, config: DataConfig, context: int) -> "Corpus":
        lines, remark = usable_lines(text, config, context)
        if copies := len(lines) - len(set(lines)):
            remark += f"{remark and '; '}{copies:,} are copies of others"
        parts = parted(lines, config.validation_fraction)
        for part, found in zip(("training", "validation"), parts, strict=True):
            if not found:
                raise UserError(
                    f"expected at least one line in the {part} split, got none of {len(lines)}"
                    f"{remark and f' ({remark})'}; give more text or another data.validation_fraction"
                )
        vocabulary = _vocabulary(joined(lines), config)
        line_break = int(vocabulary.encode(LINE_BREAK)[0])
        training, held_out = (Lines(vocabulary.encode(joined(part)), context, line_break) for part in parts)
        described = f"{len(lines):,} lines, {len(vocabulary)} distinct characters" + (remark and f"; {remark}")
        return cls(vocabulary, training, held_out, fingerprints(parts[0]), _sha256(text), described)


def _vocabulary(text: str, config: DataConfig) -> Vocabulary:
    vocabulary = Vocabulary.of(text)
    if len(vocabulary) > config.max_vocabulary:
        raise UserError(
            f"expected at most data.max_vocabulary={config.max_vocabulary} distinct characters, "
            f"got {len(vocabulary)}; raise it if this is meant"
        )
    return vocabulary


def _sha256(text: str) -> str:
    """Of the text as UTF-8, in pieces, since a long text should not be in memory twice."""
    digest = hashlib.sha256()
    for start in range(0, len(text), PIECE):
        digest.update(text[start : start + PIECE].encode())
    return digest.hexdigest()
