"""Text for a terminal: control characters are shown, never obeyed."""

import codecs
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Protocol, TextIO

_ESCAPES = {code: repr(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
_ESCAPES |= {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)}  # no UTF-8, as PEP 383 has it


class Writer(Protocol):
    """As much of a stream as text needs to go out."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> None: ...


class _Terminal:
    def __init__(self, stream: TextIO) -> None:
        self.stream, self._decoder = stream, codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def write(self, text: str, /) -> int:
        # The bytes of a character may come one by one.
        return self.stream.write(visible(self._decoder.decode(text.encode("utf-8", "surrogateescape"))))

    def flush(self) -> None:
        self.stream.flush()


def visible(text: str) -> str:
    r"""`text` with control characters but newline and tab, and what is no UTF-8, as escapes: `\x1b`, `\r`, `\xd0`."""
    return text.translate(_ESCAPES)


def quoted(text: str) -> str:
    r"""`text` as Python writes it, but what is no UTF-8 as `\xd0`."""
    return repr(text).replace(r"\udc", r"\x")


def one_line(text: object) -> str:
    """`text` from a file or about one, as a terminal may show it: ASCII, at most 300 characters."""
    return ascii(" ".join(str(text).split()))[1:-1][:300]


def escaped(path: str | Path) -> str:
    r"""The name of a file as text: bytes that are not UTF-8 as `\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def shown_on(stream: TextIO) -> Writer:
    """`stream`; if it is a terminal, all text on its way there is made `visible`, since a model can write anything."""
    return _Terminal(stream) if stream.isatty() else stream


def command_line(program: str, *arguments: str) -> str:
    """A command to copy, quoted for the shell, of a `program` in this Python's environment."""
    file = Path(sys.executable).parent / program
    found = shutil.which(program)
    words = [program if found and Path(found) == file else str(relative(file)), *arguments]
    if "UV_RUN_RECURSION_DEPTH" in os.environ:
        words = ["uv", "run", program, *arguments]
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def relative(path: Path) -> Path:
    """`path` as the user would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
