"""Text from everywhere: read to the last character, wherever pieces are cut, or refused in one line."""

import bz2
import codecs
import errno
import gzip
import io
import lzma
import os
import sys
import sysconfig
import threading
import zipfile
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

import pytest

from data import sources
from data.config import DataConfig, Source, Unreadable
from data.corpus import Corpus
from data.sources import find_text, python_stdlib
from data.text import Text, TextFile
from errors import UserError
from tests.data.helpers import load_text

STDLIB = Path(sysconfig.get_path("stdlib"))
MIXED = "ab\né漢😀\r\n\U0010ffff" * 3
AS_READ = MIXED.replace("\r\n", "\n")


def config(path: Path | str | None, encoding: str = "utf8", unreadable: Unreadable = Unreadable.error) -> DataConfig:
    path = None if path is None else str(path)
    return DataConfig(source=Source.python_stdlib, path=path, encoding=encoding, unreadable=unreadable)


def pieces(*contents: bytes) -> list[str]:
    files = [TextFile(f"file {number}", partial(io.BytesIO, content)) for number, content in enumerate(contents, 1)]
    return list(Text(tuple(files), "utf8").pieces())


@pytest.fixture
def piece(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many bytes are read at once."""
    return lambda size: monkeypatch.setattr("data.text.PIECE", size)


def zipped(*members: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        for name in ("folder/", "__MACOSX/._member0"):  # as some systems add
            writer.writestr(name, b"")
        for number, content in enumerate(members):
            writer.writestr(f"member{number}", content)
    return archive.getvalue()


@pytest.mark.parametrize("padding", [0, 4, 2**17], ids="{} zeros".format)
def test_all_streams_of_an_xz_file_are_read_whatever_pads_them(tmp_path: Path, padding: int) -> None:
    """lzma.open ends at padding: CPython 3.11.7, python/cpython#88300."""
    file = tmp_path / "text.xz"
    file.write_bytes(b"".join(lzma.compress(text) + bytes(padding) for text in (b"to be, ", b"or not " * 20_000)))
    assert load_text(config(file)) == "to be, " + "or not " * 20_000
    file.write_bytes(file.read_bytes()[: -padding - 9])
    with pytest.raises(UserError, match=r"cannot decompress .*: the file ends in the middle of a stream"):
        load_text(config(file))


def test_the_standard_library_is_plain_text() -> None:
    text = load_text(config(None))
    assert set(text) <= set(map(chr, range(32, 127))) | {"\n", "\t"}
    assert (STDLIB / "unittest" / "mock.py").read_text("utf-8") in text


def test_the_library_is_in_sorted_order_without_tests_and_files_beyond_ascii(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected the source of Python's standard library.*data\.path=FILE"):
        python_stdlib(tmp_path)
    for name, content in {
        "b.py": b"b\r\n",
        "a/a.py": b"a\n",
        "test/t.py": b"t\n",
        "site-packages/s.py": b"s\n",
        "accent.py": "é\n".encode(),
        "latin.py": b"\xe9\n",
        "feed.py": b"\f\n",
        "text.txt": b"x\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert python_stdlib(tmp_path) == "a\nb\n"


@pytest.mark.parametrize("path", ["", "missing.txt", "*.txt", "~nobody-of-this-name/text", "x" * 400])
def test_nothing_to_read_is_a_clear_error(tmp_path: Path, path: str) -> None:
    with pytest.raises(
        UserError, match=r"data\.path: (expected a file, a folder with files or a glob|cannot look for)"
    ):
        find_text(config(path if path.startswith("~") else tmp_path / path))


def test_an_unreadable_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").touch()
    denied = PermissionError(errno.EACCES, "Permission denied")  # file modes do not stop the administrator
    with (
        patch.object(Path, "open", side_effect=denied),
        pytest.raises(UserError, match=r"data\.path: cannot read .*secret\.txt: Permission denied"),
    ):
        load_text(config(tmp_path / "secret.txt"))


@pytest.mark.parametrize("size", range(1, len(MIXED.encode()) + 1))
def test_characters_are_whole_wherever_a_piece_ends(size: int, piece: Callable[[int], None]) -> None:
    piece(size)
    found = pieces(codecs.BOM_UTF8 + MIXED.encode(), b"", MIXED.encode())
    assert "".join(found) == AS_READ + "\n\n" + AS_READ
    assert all(0 < len(each.encode()) < size + 4 for each in found)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("aé漢".encode() + b"\xff", "byte 0xff at offset 6"),
        ("aé漢".encode()[:-1], "byte 0xe6 at offset 3"),
        (b"good\xc3(", "byte 0xc3 at offset 4"),
        ("aé".encode() + b"\0", r"binary data \(a zero byte at offset 3"),
    ],
)
def test_what_is_no_text_is_named_with_file_and_offset(
    content: bytes, message: str, size: int, piece: Callable[[int], None]
) -> None:
    piece(size)
    with pytest.raises(UserError, match=rf"got 1 of 3 that .*: file 2 \({message}.*; data\.unreadable=skip"):
        pieces("é漢".encode(), content, b"good")


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".XZ": lzma.compress,
    ".zip": zipped,
}


@pytest.mark.parametrize("end", COMPRESS)
def test_compressed_files_are_read_as_what_they_hold(end: str, tmp_path: Path) -> None:
    (tmp_path / f"a{end}").write_bytes(COMPRESS[end](codecs.BOM_UTF8 + MIXED.encode()))
    (tmp_path / "b.txt").write_text("b", encoding="utf-8")
    named = DataConfig(source=Source.tiny_shakespeare, path=str(tmp_path))  # the path wins over the source
    assert load_text(named) == AS_READ + "\nb"


@pytest.mark.parametrize("end", COMPRESS)
@pytest.mark.parametrize("damage", [lambda content: content[:-30], lambda content: b"xx" + content[2:40]])
def test_a_damaged_archive_is_one_clear_line(end: str, damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / f"text{end}").write_bytes(damage(COMPRESS[end](MIXED.encode() * 99)))
    with pytest.raises(UserError, match=rf"data\.path: cannot (read|decompress) .*text\{end}: ") as error:
        Corpus.load(config(tmp_path), context=2)
    assert "\n" not in str(error.value)


def test_enwik8_is_the_bytes_of_the_one_file_in_its_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "download", lambda file: tmp_path / file.name)
    enwik8 = DataConfig(source=Source.enwik8, encoding="bytes")
    (tmp_path / "enwik8.zip").write_bytes(zipped(bytes(range(256))))
    assert load_text(enwik8) == bytes(range(256)).decode("latin-1")
    (tmp_path / "enwik8.zip").write_bytes(zipped(b"a", b"b"))
    with pytest.raises(UserError, match=r"enwik8\.zip: expected one file in the archive, got 2"):
        load_text(enwik8)


def test_standard_input_is_read_by_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(codecs.BOM_UTF8 + MIXED.encode())))
    assert load_text(config("-")) == AS_READ
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UserError, match="that each of 4 processes can read, got standard input"):
        find_text(config("-"))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")
@pytest.mark.parametrize("large", [1, 10**9])
def test_a_pipe_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int) -> None:
    monkeypatch.setattr("data.encode.LARGE", large)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(MIXED.encode(),), daemon=True)
    writer.start()
    corpus = Corpus.load(config(tmp_path / "pipe"), context=1)
    writer.join()
    assert corpus.sha256 == sha256(AS_READ.encode()).hexdigest()
