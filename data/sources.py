"""Where text comes from: Python's own library, a download, standard input, or the user's files, compressed or not."""

import glob
import os
import sys
import sysconfig
import zipfile
from functools import partial
from importlib import import_module
from io import BytesIO
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from data.config import DataConfig, Source
from data.download import Download, download
from data.text import Part, Text
from errors import UserError

TINY_SHAKESPEARE = Download(
    url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    size=1_115_394,
    name="tiny_shakespeare.txt",
)
TEXT8 = Download(
    url="https://mattmahoney.net/dc/text8.zip",
    sha256="a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
    size=31_344_016,
    name="text8.zip",
)
ENWIK8 = Download(
    url="https://mattmahoney.net/dc/enwik8.zip",
    sha256="547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
    size=36_445_475,
    name="enwik8.zip",
)
MAHONEY_SIZE = 100_000_000  # bytes of either of the last two, unpacked

STANDARD_INPUT = "-"
# By the ends of their names: the modules that open compressed files. A Python may be built without.
_COMPRESSED = {".gz": "gzip", ".xz": "lzma"}
# Not the library's own code: tests, what the user installed, and compiled or bundled files.
_LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "_bundled"}


def find_text(config: DataConfig) -> Text:
    """The text that `config` names, not read yet. Raises UserError where there is none to be had."""
    if config.path == STANDARD_INPUT:
        return Text((spooled("standard input", sys.stdin.buffer),), config.encoding)
    if config.path is not None:
        return Text(tuple(map(_part, _files(config.path))), config.encoding)
    match config.source:
        case Source.python_stdlib:
            part = _at_hand("Python's library", python_stdlib(Path(sysconfig.get_path("stdlib"))).encode())
        case Source.tiny_shakespeare:
            part = _at_hand(TINY_SHAKESPEARE.name, download(TINY_SHAKESPEARE))
        case Source.text8:
            part = unzipped(TEXT8, MAHONEY_SIZE)
        case Source.enwik8:
            part = unzipped(ENWIK8, MAHONEY_SIZE)
    return Text((part,), config.encoding)


def load_text(config: DataConfig) -> str:
    """All of it in memory."""
    return "".join(map(str, find_text(config).pieces()))


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


def unzipped(archive: Download, size: int) -> Part:
    """The one file in an archive. Raises UserError if it is not of `size` bytes, before any of it is unpacked."""
    content = BytesIO(download(archive))
    try:
        members = zipfile.ZipFile(content).infolist()
    except zipfile.BadZipFile as error:
        raise UserError(f"{archive.url}: expected a zip archive, got: {error}") from error
    if [member.file_size for member in members] != [size]:
        found = ", ".join(f"{member.file_size:,}" for member in members[:3]) or "none"
        raise UserError(f"{archive.url}: expected one file of {size:,} bytes, got {len(members)} ({found} bytes)")
    # No more than that comes out of it, whatever it holds.
    return Part(archive.name, lambda: cast(BinaryIO, zipfile.ZipFile(content).open(members[0])))


def spooled(name: str, stream: BinaryIO) -> Part:
    """What can be read but once, kept in a file without a name, which is gone when the process is."""
    if (processes := os.environ.get("WORLD_SIZE", "1")) != "1":
        raise UserError(f"data.path: expected a file that each of {processes} processes can read, got {name}")
    try:
        with TemporaryFile() as file:
            copyfileobj(stream, file)
            file.flush()
            kept = os.dup(file.fileno())
    except OSError as error:
        raise UserError(f"data.path: cannot keep {name} in a temporary file: {error.strerror}") from error

    def again() -> BinaryIO:
        stream = os.fdopen(os.dup(kept), "rb")
        stream.seek(0)
        return stream

    return Part(name, again)


def _part(file: Path) -> Part:
    if file.is_file():
        return Part(str(file), partial(_opened, file), file)
    try:
        with file.open("rb") as stream:  # a pipe, or a device
            return spooled(str(file), stream)
    except OSError as error:
        raise UserError(f"data.path: cannot read {file}: {error.strerror}") from error


def _at_hand(name: str, content: bytes) -> Part:
    return Part(name, lambda: BytesIO(content))


def _opened(file: Path) -> BinaryIO:
    if module := _COMPRESSED.get(file.suffix.lower()):
        return import_module(module).open(file)
    return file.open("rb")


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
