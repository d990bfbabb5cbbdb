"""A text, encoded and split: what is learned from, and what is held out."""

import hashlib
from dataclasses import dataclass

import numpy as np

from data.config import DataConfig
from data.vocabulary import PIECE, Vocabulary
from errors import UserError


@dataclass(frozen=True)
class Corpus:
    """Ids of a text in the smallest integer type that holds them, and the vocabulary to read them with."""

    vocabulary: Vocabulary
    ids: np.ndarray  # (characters,)
    split: int  # where the validation split begins
    sha256: str  # of the text as UTF-8

    @property
    def training(self) -> np.ndarray:
        return self.ids[: self.split]

    @property
    def validation(self) -> np.ndarray:
        return self.ids[self.split :]

    @property
    def scored(self) -> np.ndarray:
        """The validation split behind one character of context, so that its first character has a prediction too."""
        return self.ids[self.split - 1 :]

    @classmethod
    def of(cls, text: str, config: DataConfig, context: int) -> "Corpus":
        """Encode and split `text`. Raises UserError if either part is too short for one context."""
        if not text:
            raise UserError("expected some text to learn from, got none: the source is empty")
        vocabulary = Vocabulary.of(text)
        if len(vocabulary) > config.max_vocabulary:
            raise UserError(
                f"expected at most data.max_vocabulary={config.max_vocabulary} distinct characters, "
                f"got {len(vocabulary)}; raise it if this is meant"
            )
        split = len(text) - round(len(text) * config.validation_fraction)
        # One more than the context: every position needs its next character.
        for part, length in (("training", split), ("validation", len(text) - split)):
            if length < context + 1:
                raise UserError(
                    f"expected at least model.context + 1 = {context + 1} characters in the {part} split, got {length} "
                    f"of {len(text)}; give more text, a smaller model.context or another data.validation_fraction"
                )
        return cls(vocabulary, vocabulary.encode(text), split, _sha256(text))


def _sha256(text: str) -> str:
    """Of the text as UTF-8, in pieces, since a long text should not be in memory twice."""
    digest = hashlib.sha256()
    for start in range(0, len(text), PIECE):
        digest.update(text[start : start + PIECE].encode())
    return digest.hexdigest()
