"""The file that samples and scores are written to: the old content stays until there is new text."""

import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TextIO

from data.vocabulary import Vocabulary
from errors import UserError
from terminal import Writer, shown_on

EXACT: Any = {"encoding": "utf-8", "errors": "surrogateescape", "newline": "\n"}  # what is no UTF-8 byte for byte


def open_output(output: str | None) -> AbstractContextManager[Writer]:
    """Standard output if `output` is None, or a text file. Raises UserError where that cannot be written."""
    if output is not None:
        return closing(_LazyFile(output))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(**EXACT)
    return nullcontext(shown_on(sys.stdout))


def text_fields(text: str, vocabulary: Vocabulary) -> dict[str, str]:
    """`text` for JSON; of bytes also these in hexadecimal, as all readers take what is no UTF-8 as U+FFFD alone."""
    content = text.encode("utf-8", "surrogateescape")
    return {"text": content.decode("utf-8", "replace")} | ({"bytes": content.hex()} if vocabulary.is_bytes else {})


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
            self.file = self.file or Path(self.output).expanduser().open("w", **EXACT)
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
