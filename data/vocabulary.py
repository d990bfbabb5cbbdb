"""Characters to ids and back, without a Python loop over characters."""

from collections.abc import Sequence

import numpy as np

from data.config import Unknown
from errors import UserError

REPLACEMENTS = "\N{REPLACEMENT CHARACTER}? "  # the first that the vocabulary has takes the place of what it lacks
PIECE = 2**20  # characters encoded at once


def codepoints(text: str) -> np.ndarray:
    """Those of each character, shape (len(text),)."""
    # "surrogatepass": a shell may hand over undecodable bytes as lone surrogates; they must be named, not crash.
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _shown(character: str) -> str:
    return f"{character!a} (U+{ord(character):04X})"


class Vocabulary:
    """The sorted distinct characters of a text; the id of a character is its place among them."""

    def __init__(self, characters: str) -> None:
        """`characters` must be sorted and distinct, as `Vocabulary.of` makes them and checkpoints keep them."""
        self._codepoints = codepoints(characters)
        if len(characters) == 0 or not np.all(self._codepoints[1:] > self._codepoints[:-1]):
            raise ValueError(f"expected sorted distinct characters, got {characters[:20]!a}")
        self.characters = characters
        # The smallest integer type that holds every id: most alphabets fit in a byte.
        self.dtype = np.min_scalar_type(len(characters) - 1)
        # From codepoint to id. What is unknown has one past the last id, as has all beyond the largest codepoint.
        self._places = np.full(int(self._codepoints[-1]) + 2, len(characters), dtype=np.uint32)
        self._places[self._codepoints] = np.arange(len(characters), dtype=np.uint32)

    @classmethod
    def of(cls, text: str) -> "Vocabulary":
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.characters)

    @property
    def opening(self) -> str:
        """What to write on from when nothing is given: a new line where the text has lines."""
        return "\n" if "\n" in self.characters else self.characters[0]

    def encode(self, text: str, source: str = "text") -> np.ndarray:
        """Ids of every character, shape (len(text),).

        Raises UserError at a character that is not in the vocabulary; `source` says there where the text is from.
        """
        ids = np.empty(len(text), dtype=self.dtype)
        unknown = []
        # In pieces, since the codepoints of a long text would take many times its size.
        for start in range(0, len(text), PIECE):
            places = self._places[np.minimum(codepoints(text[start : start + PIECE]), len(self._places) - 1)]
            ids[start : start + PIECE] = places
            unknown += (start + np.flatnonzero(places == len(self))).tolist()
        if unknown:
            raise UserError(f"{source}: " + self._unknown(text, unknown[0], len(unknown)))
        return ids

    def tables(self) -> tuple[bytes, np.ndarray]:
        """For text of these characters alone: the ids of the first 256 codepoints, and of all up to the largest."""
        wide = self._places.astype(self.dtype)
        return wide[:256].astype(np.uint8).tobytes().ljust(256), wide

    def fitted(self, text: str, unknown: Unknown) -> tuple[str, str]:
        """`text` without the characters that are not in the vocabulary, as `unknown` says, and in words what was done.

        With `Unknown.error` they stay, for `encode` to raise. Raises UserError if there is nothing to replace them by.
        """
        strange = sorted(set(text) - set(self.characters))
        match unknown:
            case Unknown.skip if strange:
                by, done = "", "left out"
            case Unknown.replace if strange:
                by = next((known for known in REPLACEMENTS if known in self.characters), "")
                if not by:
                    raise UserError(f"unknown: expected one of {REPLACEMENTS!r} in the vocabulary, got none; try skip")
                done = f"replaced by {_shown(by)}"
            case _:
                return text, ""
        count = sum(map(text.count, strange))
        return text.translate(dict.fromkeys(map(ord, strange), by)), (
            f"{count} of {len(text)} characters were not in the vocabulary and were {done}: "
            + ", ".join(map(_shown, strange[:5]))
            + (", …" if len(strange) > 5 else "")
        )

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of ids (n,)."""
        return self._codepoints[np.asarray(ids, dtype=np.intp)].tobytes().decode("utf-32-le", "surrogatepass")

    def _unknown(self, text: str, place: int, count: int) -> str:
        others = f" (and at {count - 1} more)" if count > 1 else ""
        held = self.characters if len(self) <= 100 else self.characters[:90] + "…" + self.characters[-9:]
        return (
            f"expected characters of the vocabulary, got {_shown(text[place])} at position {place}{others}; "
            f"it holds {len(self)}: {held!r}"
        )
