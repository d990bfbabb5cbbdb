"""Characters to ids and back, without a Python loop over characters."""

from collections.abc import Sequence

import numpy as np

from data.config import Unknown
from errors import UserError
from terminal import quoted

REPLACEMENTS = "\N{REPLACEMENT CHARACTER}? "  # for unknown characters: the first of these in the vocabulary


def codepoints(text: str) -> np.ndarray:
    """The codepoint of each character, shape (len(text),), uint32; of ASCII text uint8."""
    if text.isascii():
        return np.frombuffer(text.encode(), np.uint8)
    # "surrogatepass": a shell may hand over undecodable bytes as lone surrogates; they must be named, not crash.
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


class Vocabulary:
    """The sorted distinct characters of a text; the id of a character is its index among them.

    One of bytes has a character from U+0000 to U+00FF for each byte, and reads and writes text as UTF-8. What is no
    UTF-8 is U+DC80 to U+DCFF in a text, as everywhere in Python (`surrogateescape`, PEP 383).
    """

    def __init__(self, characters: str, is_bytes: bool = False) -> None:
        """`characters` must be sorted and distinct, as `Vocabulary.of` makes them and checkpoints keep them."""
        self._codepoints = codepoints(characters).astype("<u4")  # as UTF-32 has them
        if len(characters) == 0 or not np.all(self._codepoints[1:] > self._codepoints[:-1]):
            raise ValueError(f"expected sorted distinct characters, got {characters[:20]!a}")
        self.characters, self.is_bytes = characters, is_bytes
        self.unit = "byte" if is_bytes else "character"
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
        return "\n" if "\n" in self.characters else self.tokens[0]

    @property
    def tokens(self) -> str:
        """The characters as text, each by itself: a byte that is not ASCII is no UTF-8 then."""
        shown = self.characters
        return shown.encode("latin-1").decode("ascii", "surrogateescape") if self.is_bytes else shown

    def to_characters(self, text: str) -> str:
        """The characters that `encode` looks up: of bytes, one for each byte of the UTF-8. Raises UserError."""
        try:
            return text.encode("utf-8", "surrogateescape").decode("latin-1") if self.is_bytes else text
        except UnicodeEncodeError as error:
            raise UserError(f"expected text, got {text[error.start]!a}") from error

    def to_text(self, characters: str) -> str:
        return characters.encode("latin-1").decode("utf-8", "surrogateescape") if self.is_bytes else characters

    def location(self, characters: str, index: int) -> str:
        """Line, if there are several, and column of a character, both counted from 1."""
        line, column = characters.count("\n", 0, index) + 1, index - characters.rfind("\n", 0, index)
        row = f"line {line}, " if "\n" in characters else ""
        return f"{row}{'byte' if self.is_bytes else 'column'} {column}"

    def encode(self, text: str, source: str = "text") -> np.ndarray:
        """Ids of every character or byte, shape (n,).

        Raises UserError for characters that are not in the vocabulary; `source` names the text there.
        """
        characters = self.to_characters(text)
        ids = self._id_of.take(codepoints(characters), mode="clip")
        if len(unknown := np.flatnonzero(ids == len(self))):
            others = f" (and at {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            known = self.tokens if len(self) <= 100 else self.tokens[:90] + "…" + self.tokens[-9:]
            raise UserError(
                f"{source}: expected {self.unit}s of the vocabulary, got {self._shown(characters[unknown[0]])} at "
                f"{self.location(characters, unknown[0])}{others}; it holds {len(self)}: {quoted(known)}"
            )
        return ids.astype(self.dtype)

    def fitted(self, text: str, unknown: Unknown) -> tuple[str, str]:
        """`text` with characters that are not in the vocabulary left out or replaced, and a remark on these.

        With `Unknown.error` they stay, for `encode` to raise. Raises UserError if there is nothing to replace them by.
        """
        characters = self.to_characters(text)
        missing = sorted(set(characters) - set(self.characters))
        if not missing or unknown == Unknown.error:
            return text, ""
        replacement, done = "", "left out"
        if unknown == Unknown.replace:
            replacement = next((known for known in REPLACEMENTS if known in self.characters), "")
            if not replacement:
                raise UserError(f"unknown: expected one of {REPLACEMENTS!r} in the vocabulary, got none; try skip")
            done = f"replaced by {self._shown(replacement)}"
        shown = ", ".join(map(self._shown, missing[:5])) + (", …" if len(missing) > 5 else "")
        count = sum(map(characters.count, missing))
        remark = f"{count} of {len(characters)} {self.unit}s were not in the vocabulary and were {done}: {shown}"
        return self.to_text(characters.translate(dict.fromkeys(map(ord, missing), replacement))), remark

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of ids (n,)."""
        codes = self._codepoints[np.asarray(ids, dtype=np.intp)]
        return self.to_text(codes.tobytes().decode("utf-32-le", "surrogatepass"))

    def _shown(self, character: str) -> str:
        return f"{character!a}" if self.is_bytes else f"{character!a} (U+{ord(character):04X})"
