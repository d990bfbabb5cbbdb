"""Standard output and error: any character, and a reader that may go."""

import io
import os
import sys
from typing import Any


class _Output(io.FileIO):
    """The file below a standard stream. Once its reader has gone, output is dropped, or the command ends."""

    def __init__(self, descriptor: int, keep_running: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.keep_running = keep_running

    def write(self, data: "bytes | memoryview", /) -> int:  # type: ignore[override]
        try:
            return super().write(data)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())  # no later write, nor the flush at exit, fails
            if not self.keep_running:
                sys.exit(0)
            return len(data)


def prepare_output(keep_running: bool) -> None:
    """Write UTF-8 to both standard streams. If a reader goes, a command goes on silently or ends with exit code 0."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):
            stream.flush()
            raw: Any = _Output(stream.fileno(), keep_running)
            lasting = io.TextIOWrapper(
                raw if stream.write_through else io.BufferedWriter(raw),  # as Python itself has it
                encoding="utf-8",
                errors="backslashreplace",
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, lasting)
