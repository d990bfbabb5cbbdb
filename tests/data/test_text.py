"""Texts in pieces: the same as at once, wherever they are cut, and refused as precisely."""

import gzip
import io
import lzma
import os
import sys
import threading
import zipfile
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import sources
from data.config import DataConfig, Encoding, Source
from data.corpus import Corpus
from data.download import Download
from data.encoding import encoded, ids_of, survey
from data.sources import find_text, load_text, unzipped
from data.text import Part, Text
from data.vocabulary import Vocabulary
from errors import UserError

MIXED = "ab\né漢😀\r\n\U0010ffff" * 3
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)


def text_of(*contents: bytes, encoding: Encoding = Encoding.utf8) -> Text:
    parts = [Part(f"part {number}", partial(io.BytesIO, content)) for number, content in enumerate(contents, 1)]
    return Text(tuple(parts), encoding)


def config(path: Path | str, encoding: Encoding = Encoding.utf8) -> DataConfig:
    return DataConfig(source=Source.python_stdlib, path=str(path), encoding=encoding)


@pytest.fixture
def piece(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the size of pieces, in bytes."""
    return lambda size: monkeypatch.setattr("data.text.PIECE", size)


@given(texts, st.integers(1, 9))
def test_a_stream_is_encoded_as_the_text_is_at_once(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data.text.PIECE", size)
        pieces = text_of(text.encode()).pieces
        found = survey(pieces(), most=len(set(text)))
        ids = encoded(ids_of(pieces(), found), found).ids
    expected = Vocabulary.of(text)
    assert found.vocabulary.characters == expected.characters
    assert ids.dtype == expected.dtype
    assert ids.tolist() == expected.encode(text).tolist()
    assert (found.characters, found.size) == (len(text), len(text.encode()))
    assert found.sha256 == sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("size", range(1, len(MIXED.encode()) + 1))
def test_characters_are_whole_wherever_a_piece_ends(size: int, piece: Callable[[int], None]) -> None:
    piece(size)
    pieces = list(text_of(MIXED.encode(), b"", MIXED.encode()).pieces())
    assert "".join(map(str, pieces)) == MIXED + "\n\n" + MIXED
    assert all(len(each.raw) < size + 4 for each in pieces)


@pytest.mark.parametrize(("size", "bytes_each"), [(256, 1), (257, 2), (65_536, 2), (65_537, 4)])
def test_ids_are_in_the_smallest_type_whatever_the_first_pieces_hold(size: int, bytes_each: int) -> None:
    text = "a" * 10 + "".join(map(chr, range(0x10000, 0x10000 + size - 1)))
    pieces = text_of(text.encode()).pieces
    found = survey(pieces(), most=size)
    ids = encoded(ids_of(pieces(), found), found).ids
    assert ids.itemsize == bytes_each
    assert found.vocabulary.decode(ids) == text


@given(st.binary(min_size=1))
def test_every_byte_can_be_a_character(content: bytes) -> None:
    pieces = text_of(content, encoding=Encoding.bytes).pieces
    found = survey(pieces(), most=256)
    text = content.decode("latin-1")
    assert found.vocabulary.decode(encoded(ids_of(pieces(), found), found).ids) == text
    assert found.sha256 == sha256(text.encode()).hexdigest()


def test_too_many_characters_are_noticed_before_the_rest_is_read(piece: Callable[[int], None]) -> None:
    piece(1)
    pieces = text_of(b"abcd" + b"\xff").pieces()
    with pytest.raises(UserError, match=r"at most data\.max_vocabulary=2 distinct characters, got 3 in 3 characters"):
        survey(pieces, most=2)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("aé漢".encode() + b"\xff", "part 2: expected UTF-8 text, got byte 0xff at offset 6"),
        ("aé漢".encode()[:-1], "part 2: expected UTF-8 text, got byte 0xe6 at offset 3"),
        (b"good\xc3(", "part 2: expected UTF-8 text, got byte 0xc3 at offset 4"),
        ("aé".encode() + b"\0", "part 2: expected text, got binary data .a zero byte at offset 3"),
    ],
)
def test_what_is_no_text_is_named_with_its_place_in_its_part(
    content: bytes, message: str, size: int, piece: Callable[[int], None]
) -> None:
    piece(size)
    with pytest.raises(UserError, match=message):
        list(text_of("é漢".encode(), content).pieces())


@pytest.mark.parametrize(("end", "compress"), [(".gz", gzip.compress), (".XZ", lzma.compress), ("", bytes)])
def test_compressed_files_are_read_as_what_they_hold(tmp_path: Path, end: str, compress: Callable[..., bytes]) -> None:
    (tmp_path / f"a{end}").write_bytes(compress(MIXED.encode()))
    (tmp_path / "b.txt").write_text("b", encoding="utf-8")
    assert load_text(config(tmp_path)) == MIXED + "\nb"


@pytest.mark.parametrize(("end", "compress"), [(".gz", gzip.compress), (".xz", lzma.compress)])
@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: b"xx" + content[2:]])
def test_a_damaged_archive_is_one_clear_line(
    tmp_path: Path, end: str, compress: Callable[..., bytes], damage: Callable[[bytes], bytes]
) -> None:
    (tmp_path / f"text{end}").write_bytes(damage(compress(MIXED.encode() * 99)))
    with pytest.raises(UserError, match=rf"data\.path: cannot (read|decompress) .*text\{end}: ") as error:
        Corpus.load(config(tmp_path), context=2)
    assert "\n" not in str(error.value)


def test_standard_input_is_kept_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(MIXED.encode())))
    text = find_text(config("-"))
    assert [len("".join(map(str, text.pieces()))) for _ in range(2)] == [len(MIXED)] * 2


def test_standard_input_cannot_be_shared_by_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UserError, match="that each of 4 processes can read, got standard input"):
        find_text(config("-"))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")
def test_a_pipe_is_read_once_and_kept_as_well(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(MIXED.encode(),), daemon=True)
    writer.start()
    corpus = Corpus.load(config(tmp_path / "pipe"), context=2)
    writer.join()
    assert corpus.sha256 == sha256(MIXED.encode()).hexdigest()


def zipped(*members: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        for number, content in enumerate(members):
            writer.writestr(f"member{number}", content)
    return archive.getvalue()


def downloaded(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Download:
    monkeypatch.setattr(sources, "download", lambda _: content)
    return Download("https://host/text.zip", "", len(content), "text.zip")


def test_the_one_file_of_an_archive_is_a_text(monkeypatch: pytest.MonkeyPatch, piece: Callable[[int], None]) -> None:
    piece(10)
    content = bytes(range(256)) * 4
    part = unzipped(downloaded(zipped(content), monkeypatch), size=1024)
    for _ in range(2):
        assert "".join(map(str, Text((part,), Encoding.bytes).pieces())) == content.decode("latin-1")


@pytest.mark.parametrize(
    ("members", "found"),
    [([bytes(5000)], "1 .5,000 bytes"), ([bytes(4), b"b"], "2 .4, 1 bytes"), ([], "0 .none")],
)
def test_an_archive_of_other_size_is_refused_before_it_is_unpacked(
    members: list[bytes], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = downloaded(zipped(*members), monkeypatch)
    monkeypatch.setattr(zipfile.ZipFile, "open", None)  # nobody calls it
    with pytest.raises(UserError, match=f"expected one file of 4 bytes, got {found}"):
        unzipped(archive, size=4)


def test_an_archive_that_lies_about_its_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zipped(bytes(10**6)).replace((10**6).to_bytes(4, "little"), (4).to_bytes(4, "little"))
    part = unzipped(downloaded(bomb, monkeypatch), size=4)
    with pytest.raises(UserError, match=r"cannot decompress text\.zip: Bad CRC-32"):
        list(Text((part,), Encoding.bytes).pieces())


def test_what_is_no_archive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="expected a zip archive, got: "):
        unzipped(downloaded(b"no archive", monkeypatch), size=4)
