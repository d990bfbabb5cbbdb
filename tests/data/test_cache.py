"""Large texts: encoded once, whole or not at all, and the same as small ones."""

import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data import cache, mapped
from data.batches import Batches, Windows
from data.cache import corpora, encode_once
from data.config import DataConfig, Encoding, Source
from data.corpus import Corpus
from data.encoding import Encoded, ids_of, survey
from data.sources import find_text
from errors import UserError

ROOT = Path(__file__).parents[2]
TEXT = "Größe 漢字, plain words\n" * 40
PASSES: dict[str, Callable[..., Any]] = {"survey": survey, "ids_of": ids_of}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever there is, is large, comes in pieces, and has an empty cache."""
    monkeypatch.setattr("data.cache.LARGE", 1)
    monkeypatch.setattr("data.text.PIECE", 100)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_bytes(TEXT.encode())
    return file


def config(path: Path, **changes: Any) -> DataConfig:
    return DataConfig(source=Source.python_stdlib, path=str(path), **changes)


def read(path: Path, **changes: Any) -> Encoded:
    settings = config(path, **changes)
    return encode_once(find_text(settings), settings)


def text_in(found: Encoded) -> str:
    return found.vocabulary.decode(found.ids)


def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which passes there are from now on."""
    made: list[str] = []

    def noted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def note(*given: Any) -> Any:
            made.append(name)
            return real(*given)

        return note

    for name, real in PASSES.items():
        monkeypatch.setattr(cache, name, noted(name, real))
    return made


def test_a_large_text_is_what_it_would_be_in_memory(file: Path) -> None:
    settings = config(file, test_fraction=0.2)
    large, small = Corpus.load(settings, context=8), Corpus.of(TEXT, settings, context=8)
    assert (large.sha256, large.described) == (small.sha256, small.described)
    assert large.vocabulary.characters == small.vocabulary.characters
    for part in ("training", "validation", "test"):
        mapped_part, part_in_memory = getattr(large, part), getattr(small, part)
        assert mapped_part.ids.dtype == part_in_memory.ids.dtype
        assert not mapped_part.ids.flags.owndata
        assert not mapped_part.ids.flags.writeable
        np.testing.assert_array_equal(mapped_part.ids, part_in_memory.ids)
        for ours, theirs in zip(mapped_part.sequential(3), part_in_memory.sequential(3), strict=True):
            assert torch.equal(ours.targets, theirs.targets)


def test_a_small_text_leaves_no_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.cache.LARGE", len(TEXT.encode()) + 1)
    assert text_in(read(file)) == TEXT
    assert not corpora().exists()


def test_a_second_start_reads_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, made = read(file), passes(monkeypatch)
    assert text_in(read(file)) == text_in(first) == TEXT
    assert made == []
    with pytest.raises(UserError, match=r"at most data\.max_vocabulary=5 distinct"):
        read(file, max_vocabulary=5)


def test_the_same_text_elsewhere_is_not_encoded_again(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(file)
    made = passes(monkeypatch)
    (tmp_path / "copy.gz").write_bytes(gzip.compress(TEXT.encode()))
    assert text_in(read(tmp_path / "copy.gz")) == TEXT
    assert made == ["survey"]


def test_a_file_that_has_changed_is_another_text(file: Path) -> None:
    read(file)
    before = file.stat()
    file.write_bytes(TEXT.replace("plain", "PLAIN").encode())
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as some programs for copying do
    assert text_in(read(file)) == TEXT.replace("plain", "PLAIN")


def test_the_same_file_in_another_encoding_is_another_text(file: Path) -> None:
    read(file)
    assert text_in(read(file, encoding=Encoding.bytes)) == TEXT.encode().decode("latin-1")


def test_a_text_that_changes_while_it_is_read_is_refused_and_not_kept(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*given: Any) -> Iterator[np.ndarray]:
        file.write_bytes(TEXT.replace("plain", "pialn").encode())
        return ids_of(*given)

    monkeypatch.setattr(cache, "ids_of", meanwhile)
    with pytest.raises(UserError, match="that nobody writes to, got some that changed while they were read"):
        read(file)
    assert [path.name for path in corpora().rglob("*") if path.is_file()] == [".lock"]


INTERRUPTED = """
import os
import sys
import data.cache, data.text
from data.config import DataConfig, Source
from data.sources import find_text

data.cache.LARGE, data.text.PIECE, real = 1, 100, data.cache.ids_of

def killed(*given):
    for number, ids in enumerate(real(*given)):
        if number == 3:
            os._exit(9)
        yield ids

data.cache.ids_of = killed
config = DataConfig(source=Source.python_stdlib, path=sys.argv[1])
data.cache.encode_once(find_text(config), config)
"""


def test_an_encoding_that_was_killed_is_begun_again(file: Path) -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, str(file)], cwd=ROOT, check=False)
    assert done.returncode == 9
    (entry,) = corpora().iterdir()
    left = {path.name for path in entry.iterdir()}
    assert any(name.endswith(".tmp") for name in left)
    assert "ids" not in left
    assert text_in(read(file)) == TEXT
    assert {path.name for path in entry.iterdir()} == {".lock", "ids", "about.json"}


@pytest.mark.parametrize("damage", ["ids", "about.json", "characters", "format", "vocabulary", "known"])
def test_a_damaged_entry_is_not_trusted(file: Path, damage: str) -> None:
    read(file)
    (known,) = corpora().glob("*.txt")
    (about,) = corpora().glob("*/about.json")
    match damage:
        case "known":
            known.write_text("../elsewhere")
        case "ids":
            os.truncate(about.with_name("ids"), 7)
        case "about.json":
            about.write_bytes(about.read_bytes()[:-9])
        case name:
            about.write_text(about.read_text().replace(f'"{name}": ', f'"{name}": 1'))
    assert text_in(read(file)) == TEXT
    assert text_in(read(file)) == TEXT


def test_several_encode_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, together, found = passes(monkeypatch), threading.Barrier(3), []

    def start() -> None:
        together.wait()
        found.append(text_in(read(file)))

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [TEXT] * 3
    assert len(list(corpora().glob("*/ids"))) == 1
    assert made.count("ids_of") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="other words there")
def test_a_cache_that_cannot_be_written_is_one_clear_line(file: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(
        UserError, match=r"cache: cannot keep the encoded text, 880 bytes, in .*Not a directory"
    ) as error:
        read(file)
    assert "\n" not in str(error.value)


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Iterator[np.ndarray]:
        yield np.zeros(10, dtype=np.uint8)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "ids_of", full)
    with pytest.raises(UserError, match=r"cannot keep the encoded text.*No space left on device"):
        read(file)
    assert [path.name for path in corpora().rglob("*") if path.is_file()] == [".lock"]


def test_batches_of_mapped_ids_are_those_in_memory_and_their_pages_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = np.random.default_rng(0).integers(0, 60_000, 50_000).astype(np.uint16)
    (tmp_path / "ids").write_bytes(ids.tobytes())
    in_file = mapped.mapped(tmp_path / "ids", ids.dtype)[1:]
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(mapped.Pages, "expect", lambda _, *span: asked.append(span))
    ours, theirs = (Batches(Windows(each, 16), 5, seed=3) for each in (in_file, ids[1:]))
    for step in range(3):
        assert torch.equal(ours(step).targets, theirs(step).targets)
        assert asked == [(start, start + 17) for start in ours.chosen(step + 1)]
        asked.clear()


def test_pages_are_asked_for_to_the_very_ends(tmp_path: Path) -> None:
    (tmp_path / "ids").write_bytes(bytes(10_001))
    ids = mapped.mapped(tmp_path / "ids", np.dtype(np.uint8))
    for part in (ids, ids[5_000:], ids[9_999:]):
        pages = mapped.Pages(part)
        for span in [(0, 1), (len(part) - 1, len(part) + 100), (0, len(part)), (len(part), len(part) + 5)]:
            pages.expect(*span)
    mapped.Pages(np.zeros(5)).expect(0, 5)  # what is in memory has none
