"""The prompt, from the command line or a file."""

import io
import sys
from pathlib import Path

from data.text import codec_of
from errors import UserError


def read_prompt(prompt: str | None, prompt_file: str | None) -> str:
    """The prompt; empty if there is none. Raises UserError if its file cannot be read."""
    if prompt_file is None:
        return prompt or ""
    try:
        content = sys.stdin.buffer.read() if prompt_file == "-" else Path(prompt_file).expanduser().read_bytes()
        text = io.TextIOWrapper(io.BytesIO(content), codec_of(content, "utf8")).read().removeprefix("\ufeff")
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        raise UserError(f"prompt_file: expected UTF-8 text in {prompt_file}, got: {error}") from error
    if not text:
        raise UserError(f"prompt_file: expected at least one character in {prompt_file}, got none")
    return text
