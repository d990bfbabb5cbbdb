"""Sources of text: Python's standard library, a download, standard input or the user's files, opened as bytes."""

import glob
import os
import re
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib import import_module
from io import BytesIO, RawIOBase
from pathlib import Path
from typing import IO, cast

from data.config import DataConfig, Source
from data.download import Download, download
from data.text import PIECE, Text, TextFile
from errors import UserError
from terminal import escaped, quoted

DOWNLOADS = {
    Source.tiny_shakespeare: Download(
        url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        size=1_115_394,
        name="tiny_shakespeare.txt",
    ),
    Source.text8: Download(
        url="https://mattmahoney.net/dc/text8.zip",
        sha256="a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
        size=31_344_016,
        name="text8.zip",
    ),
    Source.enwik8: Download(
        url="https://mattmahoney.net/dc/enwik8.zip",
        sha256="547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
        size=36_445_475,
        name="enwik8.zip",
    ),
}
STANDARD_INPUT = "-"
DECOMPRESSORS = {".gz": "gzip", ".bz2": "bz2"}  # modules
# Not the library's own code: tests, what the user installed, and compiled or bundled files.
LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "_bundled"}
PLAIN = re.compile(r"[\t\n -~]*")


def find_text(config: DataConfig) -> Text:
    """The text that `config` names, not read yet. Raises UserError if there is none."""
    if config.path == STANDARD_INPUT:
        files = [_stream("standard input", lambda: nullcontext(sys.stdin.buffer))]
    elif config.path is not None:
        files = [_file(path) for path in _paths(config.path)]
    elif config.source == Source.python_stdlib:
        library = python_stdlib(Path(sysconfig.get_path("stdlib"))).encode()
        files = [TextFile("Python's standard library", lambda: BytesIO(library))]
    else:
        files = [_file(download(DOWNLOADS[config.source]))]
    return Text(tuple(files), config.encoding, config.unreadable)


def python_stdlib(folder: Path) -> str:
    """The Python files below `folder` in sorted order, those of plain ASCII only."""
    files = (file.relative_to(folder) for file in folder.rglob("*.py"))
    kept = sorted(file.as_posix() for file in files if not LEFT_OUT.intersection(file.parts))
    # Undecodable bytes become a character that is not ASCII: such files are left out with the rest.
    texts = ((folder / file).read_text(encoding="utf-8", errors="replace") for file in kept)
    text = "".join(filter(PLAIN.fullmatch, texts))
    if not text:
        raise UserError(
            f"expected the source of Python's standard library in {folder}, got no usable file; give data.path=FILE"
        )
    return text


def _paths(path: str) -> list[Path]:
    """The files that `path` means, in sorted order; one that links lead to is there once. Raises UserError at none."""
    try:
        named = Path(path).expanduser()
        if named.is_dir():
            found = [file for file in named.rglob("*") if not re.search(r"(^|/)\.", file.relative_to(named).as_posix())]
        elif named.exists():
            return [named]
        else:
            found = [Path(match) for match in glob.glob(str(named), recursive=True)]
        distinct: dict[tuple[int, ...], Path] = {}
        for file in sorted(found, key=lambda file: (file.is_symlink(), file.as_posix())):
            if file.is_file():
                stat = file.stat()  # with more than the inode, as some drives give them twice
                distinct.setdefault((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns), file)
    except (OSError, RuntimeError) as error:  # a folder without permission, too long a name, or an unknown ~user
        raise UserError(f"data.path: cannot look for {quoted(path)}: {error}") from error
    if distinct:
        return sorted(distinct.values(), key=Path.as_posix)
    # As `escaped` writes bytes that are not UTF-8.
    other = re.sub(rb"\\x([89a-f][0-9a-f])", lambda found: bytes.fromhex(found[1].decode()), os.fsencode(path))
    if other != os.fsencode(path):
        return _paths(os.fsdecode(other))
    raise UserError(f"data.path: expected a file, a folder with files or a glob that matches some, got {quoted(path)}")


def _file(path: Path) -> TextFile:
    if path.is_file():
        return TextFile(escaped(path), partial(open_file, path), path)
    return _stream(escaped(path), partial(open_file, path))  # a pipe or a device


def _stream(name: str, open_once: Callable[[], AbstractContextManager[IO[bytes]]]) -> TextFile:
    if (processes := os.environ.get("WORLD_SIZE", "1")) != "1":
        raise UserError(f"data.path: expected a file that each of {processes} processes can read, got {name}")
    return TextFile(name, open_once)


def open_file(path: Path) -> IO[bytes]:
    """The bytes of a file, decompressed if the end of its name says so."""
    suffix = path.suffix.lower()
    if suffix == ".zip":
        archive = zipfile.ZipFile(path)
        members = [each for each in archive.infolist() if not each.is_dir() and "__MACOSX/" not in each.filename]
        if len(members) != 1:
            raise ValueError(f"expected one file in the archive, got {len(members)}; unpack it into a folder")
        return archive.open(members[0])
    if suffix in DECOMPRESSORS:
        return import_module(DECOMPRESSORS[suffix]).open(path)  # without which, or lzma, a Python may be built
    return cast(IO[bytes], XzFile(path)) if suffix == ".xz" else path.open("rb")


class XzFile(RawIOBase):
    """The streams of an .xz file, one after the other.

    Python's own lzma.open ends without a word where zeros pad a stream, as the format allows, and drops the streams
    behind them (CPython 3.11.7; python/cpython#88300).
    """

    def __init__(self, path: Path) -> None:
        self._file, self._new_stream = path.open("rb"), import_module("lzma").LZMADecompressor
        self._stream = self._new_stream()

    def read(self, size: int = PIECE) -> bytes:
        content = b""
        while not content:
            data = b""
            if self._stream.eof:
                data = self._stream.unused_data.lstrip(b"\0")
                while not data and (data := self._file.read(PIECE)):
                    data = data.lstrip(b"\0")
                if not data:
                    break
                self._stream = self._new_stream()
            elif self._stream.needs_input and not (data := self._file.read(PIECE)):
                raise EOFError("the file ends in the middle of a stream")
            content = self._stream.decompress(data, size)
        return content

    def close(self) -> None:
        self._file.close()
        super().close()
