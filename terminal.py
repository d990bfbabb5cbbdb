"""Text for a terminal: control characters are shown, never obeyed."""

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

_CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


class Writer(Protocol):
    """As much of a stream as text needs to go out."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> None: ...


@dataclass(frozen=True)
class _Terminal:
    stream: TextIO

    def write(self, text: str, /) -> int:
        return self.stream.write(visible(text))

    def flush(self) -> None:
        self.stream.flush()


def visible(text: str) -> str:
    r"""`text` with its control characters, but for newline and tab, as Python writes them: `\x1b`, `\r`, `\x9b`."""
    return text.translate(_CONTROLS)


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
