"""The file that samples and scores are written to: the old content stays until there is new text."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import TextIO

from errors import UserError
from terminal import Writer, shown_on


def open_output(output: str | None) -> AbstractContextManager[Writer]:
    """Standard output if `output` is None, or a text file. Raises UserError where that cannot be written."""
    return nullcontext(shown_on(sys.stdout)) if output is None else closing(_LazyFile(output))


def check_writable(output: str) -> None:
    """Raise UserError if the file cannot be written, without changing it."""
    with _explain(output):
        file = Path(output).expanduser().resolve()
        if file.exists():
            file.open("r+b").close()
        else:
            tempfile.TemporaryFile(dir=file.parent).close()


class _LazyFile:
    """A text file that is opened, and emptied, by the first write."""

    def __init__(self, output: str) -> None:
        self.output = output
        self.file: TextIO | None = None

    def write(self, text: str, /) -> None:
        with _explain(self.output):
            self.file = self.file or Path(self.output).expanduser().open("w", encoding="utf-8", newline="\n")
            self.file.write(text)

    def flush(self) -> None:
        with _explain(self.output):
            if self.file:
                self.file.flush()

    def close(self) -> None:
        with _explain(self.output):
            if self.file:
                self.file.close()


@contextmanager
def _explain(output: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # RuntimeError: an unknown home directory
        raise UserError(f"output: expected a file that can be written, got {output!r}: {error}") from error
