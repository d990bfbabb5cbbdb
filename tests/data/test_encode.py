"""Texts to ids: in one reading, and large ones in a file, whole or not at all, with the same ids as small ones."""

import gzip
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data import encode as encoding
from data.batches import Batches, Windows
from data.config import DataConfig, Source
from data.corpus import Corpus
from data.encode import Encoded, Scan, corpora, encode, encode_once
from data.sources import find_text
from data.text import Text
from data.vocabulary import Vocabulary
from errors import UserError
from tests.data.helpers import split_text

TEXT = "Größe 漢字, plain words\n" * 40
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(texts, st.integers(1, 9))
def test_a_text_is_encoded_in_pieces_as_at_once(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data.encode.PIECE", size)
        found, expected = encode(text, max_vocabulary=len(set(text))), Vocabulary.of(text)
    assert found.vocabulary.characters == expected.characters
    assert found.ids.dtype == expected.dtype
    assert found.ids.tolist() == expected.encode(text).tolist()
    assert found.sha256 == sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(("size", "bytes_each"), [(256, 1), (257, 2), (65_536, 2), (65_537, 4)])
@pytest.mark.usefixtures("large")
def test_ids_are_in_the_smallest_type_whatever_the_first_pieces_hold(
    size: int, bytes_each: int, tmp_path: Path
) -> None:
    text = "a" * 1000 + "".join(map(chr, range(0x10000, 0x10000 + size - 1)))
    (tmp_path / "text").write_bytes(text.encode())
    for found in (encode(text, max_vocabulary=size), read(tmp_path / "text", max_vocabulary=size)):
        assert found.ids.itemsize == found.vocabulary.encode(text).itemsize == bytes_each
        assert text_in(found) == text


def test_too_many_characters_are_noticed_before_the_rest_is_read() -> None:
    pieces = iter("abcd")
    with pytest.raises(UserError, match=r"at most data\.max_vocabulary=2 distinct characters, got 3 in 3 characters"):
        list(Scan(max_vocabulary=2).read(pieces))
    assert next(pieces) == "d"


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Any text is large, comes in pieces, and has an empty cache."""
    monkeypatch.setattr("data.encode.LARGE", 1)
    monkeypatch.setattr("data.encode.PIECE", 100)
    monkeypatch.setattr("data.text.PIECE", 100)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def file(tmp_path: Path, large: None) -> Path:  # noqa: ARG001
    file = tmp_path / "text.txt"
    file.write_bytes(TEXT.encode())
    return file


def read(path: Path, **changes: Any) -> Encoded:
    config = DataConfig(source=Source.python_stdlib, path=str(path), **changes)
    return encode_once(find_text(config), config)


def text_in(found: Encoded) -> str:
    return found.vocabulary.decode(found.ids)


def kept() -> list[str]:
    """The kinds of files in the cache, without the lock."""
    return sorted(path.suffix for path in corpora().iterdir() if path.name != ".lock")


def test_a_large_text_is_what_it_would_be_in_memory(file: Path) -> None:
    config = DataConfig(source=Source.python_stdlib, path=str(file), test_fraction=0.2)
    large, small = Corpus.load(config, context=8), split_text(TEXT, config, context=8)
    assert (large.sha256, large.description) == (small.sha256, small.description)
    assert large.vocabulary.characters == small.vocabulary.characters
    for part in ("training", "validation", "test"):
        mapped, in_memory = getattr(large, part), getattr(small, part)
        assert mapped.ids.dtype == in_memory.ids.dtype
        assert not mapped.ids.flags.owndata
        assert not mapped.ids.flags.writeable
        np.testing.assert_array_equal(mapped.ids, in_memory.ids)


def test_a_small_text_leaves_no_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.encode.LARGE", len(TEXT.encode()) + 1)
    assert text_in(read(file)) == TEXT
    assert not corpora().exists()


def test_a_second_start_reads_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert text_in(read(file)) == TEXT
    with pytest.raises(UserError, match=r"at most data\.max_vocabulary=5 distinct"):
        read(file, max_vocabulary=5)
    monkeypatch.setattr(Text, "pieces", None)
    assert text_in(read(file)) == TEXT


def test_the_same_text_elsewhere_is_not_kept_twice(file: Path, tmp_path: Path) -> None:
    read(file)
    (ids,) = corpora().glob("*.ids")
    before = ids.stat()
    (tmp_path / "copy.gz").write_bytes(gzip.compress(TEXT.encode()))
    assert text_in(read(tmp_path / "copy.gz")) == TEXT
    assert ids.stat() == before
    assert kept() == [".ids", ".json", ".json"]


def test_a_file_that_has_changed_or_has_another_encoding_is_another_text(file: Path) -> None:
    read(file)
    assert text_in(read(file, encoding="bytes")) == TEXT.encode().decode("latin-1")
    before = file.stat()
    file.write_bytes(TEXT.replace("plain", "PLAIN").encode())
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as some programs for copying do
    assert text_in(read(file)) == TEXT.replace("plain", "PLAIN")


def test_a_text_that_changes_while_it_is_read_is_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def changing(text: Text, real: Any = Text.pieces) -> Iterator[str]:
        yield from real(text)
        file.write_bytes(TEXT.replace("plain", "later").encode())

    with monkeypatch.context() as patch:
        patch.setattr(Text, "pieces", changing)
        assert text_in(read(file)) == TEXT
    assert text_in(read(file)) == TEXT.replace("plain", "later")


def test_what_a_killed_process_left_is_removed(file: Path) -> None:
    corpora().mkdir(parents=True)
    (corpora() / ".text.ids.0123abcd.tmp").touch()
    assert text_in(read(file)) == TEXT
    assert kept() == [".ids", ".json"]


@pytest.mark.parametrize("damage", ["ids", "json", "sha256", "characters", "vocabulary"])
def test_a_damaged_entry_is_not_trusted(file: Path, damage: str) -> None:
    read(file)
    ((ids,), (about,)) = (corpora().glob(f"*.{end}") for end in ("ids", "json"))
    if damage == "ids":
        os.truncate(ids, 7)
    elif damage == "json":
        about.write_bytes(about.read_bytes()[:-9])
    else:
        about.write_text(about.read_text().replace(f'"{damage}": ', f'"{damage}": 1'))
    assert text_in(read(file)) == TEXT
    assert text_in(read(file)) == TEXT


def test_processes_that_start_together_encode_once(file: Path) -> None:
    together = threading.Barrier(3)

    def start(_: int) -> str:
        together.wait()
        return text_in(read(file))

    with patch.object(encoding, "_keep", wraps=encoding._keep) as keep, ThreadPoolExecutor(3) as pool:
        assert list(pool.map(start, range(3))) == [TEXT] * 3
    keep.assert_called_once()


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Iterator[np.ndarray]:
        yield np.zeros(10, dtype=np.uint8)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(encoding, "_read_back", full)
    with pytest.raises(UserError, match=r"cache: cannot keep the encoded text in .*No space left on device") as error:
        read(file)
    assert "\n" not in str(error.value)
    assert kept() == []


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system takes no advice")
def test_batches_of_mapped_ids_are_those_in_memory_and_the_next_ones_are_prefetched(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 60_000, 50_000).astype(np.uint16)
    (tmp_path / "ids").write_bytes(ids.tobytes())
    mapped = np.memmap(tmp_path / "ids", ids.dtype, "r")
    for first, end in [(0, 50_000), (30_001, 40_000)]:
        ours, theirs = (Batches(Windows(each[first:end], 16), 5, seed=3) for each in (mapped, ids))
        for step in range(3):
            with patch("os.posix_fadvise", wraps=os.posix_fadvise) as advise:
                assert torch.equal(ours(step).targets, theirs(step).targets)
            advice = [call.args[1:3] for call in advise.call_args_list]  # offsets and lengths
            assert advice == [(2 * (first + start), 2 * 17) for start in ours.chosen(step + 1)]
    (tmp_path / "ids").unlink()
    assert torch.equal(ours(3).targets, theirs(3).targets)
