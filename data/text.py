"""A text as a stream that can be read again: in pieces cut between characters, whatever its size."""

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from data.config import Encoding
from errors import UserError

PIECE = 2**16  # bytes read at once: with larger ones memory for what is made of them is asked of the system anew


@dataclass(frozen=True)
class Piece:
    """A stretch of text: its bytes, and its characters unless each byte stands for the one of its number."""

    raw: bytes
    text: str | None = None

    @classmethod
    def of(cls, text: str) -> "Piece":
        return cls(text.encode(), None if text.isascii() else text)

    def __len__(self) -> int:
        """In characters."""
        return len(self.raw if self.text is None else self.text)

    def __str__(self) -> str:
        return self.raw.decode("latin-1") if self.text is None else self.text

    def utf8(self) -> bytes:
        return self.raw if self.text is not None or self.raw.isascii() else str(self).encode()


@dataclass(frozen=True)
class Part:
    """Bytes with a name; `open` gives them from their beginning each time."""

    name: str  # for messages
    open: Callable[[], BinaryIO]
    file: Path | None = None  # where they come from, if that can be watched


@dataclass(frozen=True)
class Text:
    """Parts in their order, each on lines of its own."""

    parts: tuple[Part, ...]
    encoding: Encoding = Encoding.utf8

    def pieces(self) -> Iterator[Piece]:
        """Raises UserError at a part that cannot be read or, with its offset, at a byte that is no text."""
        *earlier, last = self.parts
        for part in earlier:
            end = b""
            for piece in self._pieces_of(part):
                yield piece
                end = piece.raw[-1:]
            if end != b"\n":  # a part that ends in the middle of a line must not run into the next one
                yield Piece(b"\n")
        yield from self._pieces_of(last)

    def _pieces_of(self, part: Part) -> Iterator[Piece]:
        match self.encoding:
            case Encoding.bytes:
                return map(Piece, _contents(part))
            case Encoding.utf8:
                return _decoded(part)


def pieces_of(text: str) -> Iterator[Piece]:
    """Those of a text at hand."""
    for start in range(0, len(text), PIECE):
        yield Piece.of(text[start : start + PIECE])


def _contents(part: Part) -> Iterator[bytes]:
    try:
        with part.open() as stream:
            while content := stream.read(PIECE):
                yield content
    except OSError as error:
        raise UserError(f"data.path: cannot read {part.name}: {error.strerror or error}") from error
    except Exception as error:  # each way to decompress has errors of its own
        raise UserError(f"data.path: cannot decompress {part.name}: {' '.join(str(error).split())}") from error


def _decoded(part: Part) -> Iterator[Piece]:
    offset, rest = 0, b""  # of what was not yielded yet, and the beginning of a character in it
    for content in _contents(part):
        if (zero := content.find(b"\0")) >= 0:
            place = offset + len(rest) + zero
            raise UserError(f"{part.name}: expected text, got binary data (a zero byte at offset {place})")
        content = rest + content if rest else content
        piece, used = _decode(content, False, part, offset)
        yield piece
        offset, rest = offset + used, content[used:]
    if rest:
        _decode(rest, True, part, offset)


def _decode(content: bytes, is_end: bool, part: Part, offset: int) -> tuple[Piece, int]:
    """Whole characters, and how many bytes they take: at the most three are left, unless it is the end."""
    if content.isascii():
        return Piece(content), len(content)
    try:
        text, used = codecs.utf_8_decode(content, "strict", is_end)
    except UnicodeDecodeError as error:
        bad = f"byte 0x{content[error.start]:02x} at offset {offset + error.start}"
        raise UserError(f"{part.name}: expected UTF-8 text, got {bad}; data.encoding=bytes takes any") from error
    return Piece(content[:used], text), used
