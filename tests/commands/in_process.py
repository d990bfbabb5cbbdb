"""`python sample.py ...` without a new process, which would take seconds to import torch."""

import io
import os
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from unittest.mock import patch

import sample as script


class Stream(io.TextIOWrapper):
    """A standard stream in memory, maybe of a terminal."""

    def __init__(self, content: bytes = b"", terminal: bool = False) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8", newline="")
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def text(self) -> str:
        self.flush()
        content: Any = self.buffer
        return bytes(content.getvalue()).decode()


def sample(*arguments: str, folder: Path, stdin: str = "", terminal: bool = False) -> CompletedProcess[str]:
    """Run the command in `folder`; any exception but an exit passes."""
    argv, out, errors = ["sample.py", *arguments], Stream(terminal=terminal), Stream()
    with (
        chdir(folder),
        patch.object(sys, "argv", argv),
        patch.object(sys, "stdin", Stream(stdin.encode())),
        patch.dict(os.environ),
        redirect_stdout(out),
        redirect_stderr(errors),
    ):
        code: Any = 0
        try:
            script.main()
        except SystemExit as stopped:
            code = stopped.code
    return CompletedProcess(argv, code, out.text(), errors.text())
