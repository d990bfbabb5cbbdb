"""The prompt, from the command line or a file."""

import sys
from io import BytesIO
from pathlib import Path

from data.text import Text, TextFile, UnreadableError
from errors import UserError


def read_prompt(prompt: str | None, prompt_file: str | None) -> str:
    """The prompt, or nothing; what is no UTF-8 is escaped (PEP 383). Raises UserError if it cannot be read."""
    if prompt_file is None:
        return prompt or ""
    try:
        content = sys.stdin.buffer.read() if prompt_file == "-" else Path(prompt_file).expanduser().read_bytes()
    except (OSError, RuntimeError) as error:
        raise UserError(f"prompt_file: cannot read {prompt_file}: {error}") from error
    return content.decode("utf-8", "surrogateescape")


def as_text(prompt: str, prompt_file: str | None) -> str:
    """A prompt for a model of characters: of a file the text. Raises UserError if it is none."""
    if prompt_file is None:
        return prompt
    content = prompt.encode("utf-8", "surrogateescape")
    try:
        return "".join(Text((TextFile(prompt_file, lambda: BytesIO(content)),), "utf8").pieces())
    except UnreadableError as error:
        raise UserError(f"prompt_file: expected UTF-8 text in {prompt_file}, got {error.got}") from error
