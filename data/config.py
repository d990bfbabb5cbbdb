"""Configuration of the text. Free of heavy imports, so that help and completion are instant."""

import codecs
from dataclasses import dataclass
from enum import Enum, StrEnum

BYTES = "bytes"  # the encoding of which each byte is a character (Latin-1): any file will do


class Source(StrEnum):
    """The text to learn, unless `data.path` is given."""

    python_stdlib = "python_stdlib"
    tiny_shakespeare = "tiny_shakespeare"
    text8 = "text8"
    enwik8 = "enwik8"


class Unreadable(StrEnum):
    """Treatment of a file that cannot be read, or is no text, among others."""

    error = "error"
    skip = "skip"


class Unit(StrEnum):
    """The kind of sequence that the model reads."""

    window = "window"  # a stretch of the text, cut anywhere
    line = "line"  # one line, from its beginning to its end


class Split(StrEnum):
    """Position of the validation split in the text, and of the test split behind it."""

    tail = "tail"  # at its end
    blocks = "blocks"  # in stretches all over it


class LongLines(StrEnum):
    """Treatment of lines that do not fit in the context."""

    error = "error"
    skip = "skip"
    cut = "cut"  # the model sees their beginnings


class Unknown(Enum):  # not StrEnum, in which `replace` is a method
    """Treatment of characters that are not in the vocabulary."""

    error = "error"
    skip = "skip"
    replace = "replace"  # by a character that is in it


@dataclass(kw_only=True, slots=True)
class DataConfig:
    """The text to learn, and its splits."""

    source: Source
    path: str | None = None  # a file, a folder or a glob of the user's own, - for standard input; wins over `source`
    encoding: str = "utf8"  # or bytes, or any of Python's text codecs
    unreadable: Unreadable = Unreadable.error
    unit: Unit = Unit.window
    long_lines: LongLines = LongLines.error
    split: Split = Split.tail  # of lines, validation is always a random part
    validation_fraction: float = 0.1  # 0: train on all of the text
    test_fraction: float = 0.0  # behind the validation split: scored once, at the end; nothing is chosen by it
    max_vocabulary: int = 20_000  # more distinct characters than this are taken for a mistake

    def problems(self) -> list[str]:
        found = []
        if self.path is not None and not self.path.strip():
            found.append("data.path: expected a file, folder or glob, got an empty string")
        if self.encoding != BYTES and not is_text_codec(self.encoding):
            found.append(f"data.encoding: expected utf8, bytes or a text codec of Python's, got {self.encoding!r}")
        elif self.path is None and self.encoding not in ("utf8", BYTES):
            found.append(f"data.encoding: expected utf8 or bytes unless data.path is given, got {self.encoding!r}")
        if self.long_lines != LongLines.error and self.unit != Unit.line:
            found.append(f"data.long_lines: expected it with data.unit=line alone, got {self.long_lines}")
        if self.split != Split.tail and self.unit == Unit.line:
            found.append(f"data.split: expected it without data.unit=line, which splits at random, got {self.split}")
        fractions = {"data.validation_fraction": self.validation_fraction, "data.test_fraction": self.test_fraction}
        wrong = {name: value for name, value in fractions.items() if not 0 <= value < 1}
        found += [f"{name}: expected at least 0 and below 1, got {value}" for name, value in wrong.items()]
        if not wrong and sum(fractions.values()) >= 1:
            both = " and ".join(map(str, fractions.values()))
            found.append(f"{', '.join(fractions)}: expected less than 1 together, got {both}")
        if self.max_vocabulary < 2:
            found.append(f"data.max_vocabulary: expected at least 2, got {self.max_vocabulary}")
        return found


def is_text_codec(name: str) -> bool:
    """Whether Python has a codec of this name that decodes text as it comes, byte by byte."""
    try:
        decoder = codecs.getincrementaldecoder(name)()
        pieces = (bytes([byte]) for byte in "a\n".encode(name))
        return "".join(map(decoder.decode, pieces)) + decoder.decode(b"", True) == "a\n"
    except (LookupError, ValueError):  # also of the codec `undefined`, and of names with a zero
        return False
