"""Where text comes from: Python's own library, a download, or the user's files. Every way ends in one `str`."""

import glob
import sysconfig
from pathlib import Path

from data.config import DataConfig, Source
from data.download import Download, download
from errors import UserError

TINY_SHAKESPEARE = Download(
    url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    size=1_115_394,
    name="tiny_shakespeare.txt",
)

# Not the library's own code: tests, what the user installed, and compiled or bundled files.
_LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "_bundled"}


def load_text(config: DataConfig) -> str:
    """The text that `config` names. Raises UserError where there is none to be had."""
    if config.path is not None:
        return read_path(config.path)
    match config.source:
        case Source.python_stdlib:
            return python_stdlib(Path(sysconfig.get_path("stdlib")))
        case Source.tiny_shakespeare:
            return download(TINY_SHAKESPEARE).decode("utf-8")


def python_stdlib(folder: Path) -> str:
    """The Python files below `folder` in sorted order, those of plain ASCII only."""
    files = (file.relative_to(folder) for file in folder.rglob("*.py"))
    kept = sorted(file.as_posix() for file in files if not _LEFT_OUT.intersection(file.parts))
    # Undecodable bytes become a character that is not ASCII: such files are left out with the rest.
    texts = ((folder / file).read_text(encoding="utf-8", errors="replace") for file in kept)
    text = "".join(text for text in texts if _is_plain(text))
    if not text:
        raise UserError(f"expected the source of Python's library in {folder}, got no usable file; give data.path=FILE")
    return text


def _is_plain(text: str) -> bool:
    return text.isascii() and text.replace("\n", "").replace("\t", "").isprintable()


def read_path(path: str) -> str:
    """A file, every visible file below a folder, or every file that a glob matches: in sorted order, as they are."""
    files = _files(path)
    *earlier, last = (_decoded(file, _bytes(file)) for file in files)
    # A file that ends in the middle of a line must not run into the next one.
    return "".join(text if text.endswith("\n") else text + "\n" for text in earlier) + last


def _files(path: str) -> list[Path]:
    try:
        named = Path(path).expanduser()
        if named.is_dir():
            found = [file for file in named.rglob("*") if not _is_hidden(file.relative_to(named))]
        elif named.exists():
            return [named]
        else:
            found = [Path(match) for match in glob.glob(str(named), recursive=True)]
        files = sorted((file for file in found if file.is_file()), key=Path.as_posix)
    except (OSError, RuntimeError) as error:  # not to be entered, too long a name, or no such user behind "~"
        raise UserError(f"data.path: cannot look for {path!r}: {error}") from error
    if not files:
        raise UserError(f"data.path: expected a file, a folder with files or a glob that matches some, got {path!r}")
    return files


def _is_hidden(file: Path) -> bool:
    return any(part.startswith(".") for part in file.parts)


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"data.path: cannot read {file}: {error.strerror}") from error


def _decoded(file: Path, content: bytes) -> str:
    zero = content.find(b"\0")
    if zero >= 0:
        raise UserError(f"{file}: expected text, got binary data (a zero byte at offset {zero})")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        bad = f"byte 0x{content[error.start]:02x} at offset {error.start}"
        raise UserError(f"{file}: expected UTF-8 text, got {bad}") from error
