"""Characters to ids and back, without a Python loop over characters."""

from collections.abc import Sequence

import numpy as np

from data.config import Unknown
from errors import UserError

REPLACEMENTS = "\N{REPLACEMENT CHARACTER}? "  # for unknown characters: the first of these in the vocabulary


def codepoints(text: str) -> np.ndarray:
    """The codepoint of each character, shape (len(text),), uint32; of ASCII text uint8."""
    if text.isascii():
        return np.frombuffer(text.encode(), np.uint8)
    # "surrogatepass": a shell may hand over undecodable bytes as lone surrogates; they must be named, not crash.
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _shown(character: str) -> str:
    return f"{character!a} (U+{ord(character):04X})"


class Vocabulary:
    """The sorted distinct characters of a text; the id of a character is its index among them."""

    def __init__(self, characters: str) -> None:
        """`characters` must be sorted and distinct, as `Vocabulary.of` makes them and checkpoints keep them."""
        self._codepoints = codepoints(characters).astype("<u4")  # as UTF-32 has them
        if len(characters) == 0 or not np.all(self._codepoints[1:] > self._codepoints[:-1]):
            raise ValueError(f"expected sorted distinct characters, got {characters[:20]!a}")
        self.characters = characters
        # The smallest integer type that holds every id: most alphabets fit in a byte.
        self.dtype = np.min_scalar_type(len(characters) - 1)
        # From codepoint to id; len(self) stands for unknown, also of all codepoints beyond the last.
        self._id_of = np.full(int(self._codepoints[-1]) + 2, len(characters), dtype=np.uint32)
        self._id_of[self._codepoints] = np.arange(len(characters), dtype=np.uint32)

    @classmethod
    def of(cls, text: str) -> "Vocabulary":
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.characters)

    @property
    def opening(self) -> str:
        """The prompt when none is given: a line break if the text has any."""
        return "\n" if "\n" in self.characters else self.characters[0]

    def encode(self, text: str, source: str = "text") -> np.ndarray:
        """Ids of every character, shape (len(text),).

        Raises UserError for characters that are not in the vocabulary; `source` names the text there.
        """
        ids = self._id_of.take(codepoints(text), mode="clip")
        if len(unknown := np.flatnonzero(ids == len(self))):
            others = f" (and at {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            known = self.characters if len(self) <= 100 else self.characters[:90] + "…" + self.characters[-9:]
            raise UserError(
                f"{source}: expected characters of the vocabulary, got {_shown(text[unknown[0]])} at position "
                f"{unknown[0]}{others}; it holds {len(self)}: {known!r}"
            )
        return ids.astype(self.dtype)

    def fitted(self, text: str, unknown: Unknown) -> tuple[str, str]:
        """`text` with characters that are not in the vocabulary left out or replaced, and a remark on these.

        With `Unknown.error` they stay, for `encode` to raise. Raises UserError if there is nothing to replace them by.
        """
        missing = sorted(set(text) - set(self.characters))
        if not missing or unknown == Unknown.error:
            return text, ""
        replacement, done = "", "left out"
        if unknown == Unknown.replace:
            replacement = next((known for known in REPLACEMENTS if known in self.characters), "")
            if not replacement:
                raise UserError(f"unknown: expected one of {REPLACEMENTS!r} in the vocabulary, got none; try skip")
            done = f"replaced by {_shown(replacement)}"
        shown = ", ".join(map(_shown, missing[:5])) + (", …" if len(missing) > 5 else "")
        count = sum(map(text.count, missing))
        remark = f"{count} of {len(text)} characters were not in the vocabulary and were {done}: {shown}"
        return text.translate(dict.fromkeys(map(ord, missing), replacement)), remark

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of ids (n,)."""
        return self._codepoints[np.asarray(ids, dtype=np.intp)].tobytes().decode("utf-32-le", "surrogatepass")
