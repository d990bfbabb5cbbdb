"""Text to ids in one reading: small texts in memory, large ones in a file that all runs share."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from data.config import DataConfig
from data.download import cache_folder
from data.sources import PIECE, Text
from data.vocabulary import Vocabulary, codepoints
from errors import UserError
from files import remove_unfinished, replacing

LARGE = 2**27  # bytes of UTF-8 from which on ids are kept in a file
CODEPOINTS = 0x110000  # in Unicode
UNSEEN = 2**32 - 1
NOT_ASCII = bytes(range(128, 256))
BAR_DELAY = 2.0  # seconds until a progress bar appears


@dataclass(frozen=True)
class Encoded:
    """A text as ids, in the smallest integer type that holds them."""

    vocabulary: Vocabulary
    ids: np.ndarray  # (characters,); a read-only np.memmap if the text is large
    sha256: str  # of the text as UTF-8
    remark: str = ""  # for people


class Scan:
    """One pass over a text. Ids are not known before its end: until then characters have numbers.

    ASCII characters are numbered by their codepoints, which is quickest, and others from 128 on as they appear.
    """

    def __init__(self, max_vocabulary: int) -> None:
        self.max_vocabulary = max_vocabulary
        self.size, self.characters = 0, 0  # the first in bytes of UTF-8
        self.hash = hashlib.sha256()
        self.counts: dict[np.dtype, int] = {}  # characters by the type of their numbers, which only grows
        self._ascii, self._others = b"", ""  # the characters seen so far
        self._number_of = np.full(CODEPOINTS, UNSEEN, dtype=np.uint32)
        self._number_of[:128] = np.arange(128)

    def read(self, pieces: Iterable[str]) -> Iterator[np.ndarray]:
        """The numbers of each piece. Raises UserError as soon as there are too many distinct characters."""
        with tqdm(desc="reading", unit="B", unit_scale=True, delay=BAR_DELAY, disable=None) as bar:
            for piece in pieces:
                content = piece.encode()
                numbers = self._numbers(piece, content)
                self.hash.update(content)
                self.size += len(content)
                self.characters += len(piece)
                self.counts[numbers.dtype] = self.counts.get(numbers.dtype, 0) + len(piece)
                if (distinct := len(self._ascii) + len(self._others)) > self.max_vocabulary:
                    raise UserError(
                        f"expected at most data.max_vocabulary={self.max_vocabulary} distinct characters, got "
                        f"{distinct} in {self.characters:,} characters of text; raise it if this is meant"
                    )
                bar.update(len(content))
                yield numbers

    def _numbers(self, piece: str, content: bytes) -> np.ndarray:
        self._ascii += bytes(set(content.translate(None, self._ascii + NOT_ASCII)))
        numbers = codes = codepoints(piece)
        if not piece.isascii():
            numbers = _take(self._number_of, codes)
            if (is_new := numbers == UNSEEN).any():
                new = np.unique(codes[is_new])
                self._number_of[new] = np.arange(len(new)) + 128 + len(self._others)
                self._others += "".join(map(chr, new))
                numbers = _take(self._number_of, codes)
        return numbers.astype(np.min_scalar_type(127 + len(self._others)), copy=False)

    def ids(self, numbers: Iterable[np.ndarray]) -> tuple[Vocabulary, Iterator[np.ndarray]]:
        """The vocabulary, and the ids of what `read` gave. Raises UserError if that was nothing."""
        if not self.characters:
            raise UserError("expected some text to learn from, got none: the source is empty")
        seen = self._ascii.decode() + self._others
        vocabulary = Vocabulary.of(seen)
        id_of = np.zeros(128 + len(self._others), dtype=vocabulary.dtype)
        id_of[self._number_of[codepoints(seen)]] = vocabulary.encode(seen)
        return vocabulary, (_take(id_of, piece) for piece in numbers)


def _take(table: np.ndarray, indices: np.ndarray) -> np.ndarray:
    if table.itemsize == indices.itemsize == 1:  # a third faster
        return np.frombuffer(indices.tobytes().translate(table[:256].tobytes().ljust(256)), table.dtype)
    return table.take(indices, mode="clip")  # other modes are slower


def encode(text: str, max_vocabulary: int) -> Encoded:
    """Encode in memory. Raises UserError if there is no text, or too many distinct characters."""
    scan = Scan(max_vocabulary)
    return _in_memory(scan, list(scan.read(text[start : start + PIECE] for start in range(0, len(text), PIECE))))


def encode_once(text: Text, config: DataConfig) -> Encoded:
    """Encode `text` in memory or, if it is large, in the cache, where it is found again until its files change.

    Raises UserError if the text cannot be read, has too many distinct characters, or cannot be kept.
    """
    key = _key(text, config.max_vocabulary)
    if found := _find(key):
        return found
    scan, beginning = Scan(config.max_vocabulary), list[np.ndarray]()
    rest = scan.read(text.pieces())
    for numbers in rest:
        beginning.append(numbers)
        if scan.size >= LARGE:
            break
    else:
        return _in_memory(scan, beginning)
    try:
        corpora().mkdir(parents=True, exist_ok=True)
        with FileLock(corpora() / ".lock"), TemporaryFile(dir=corpora()) as spool:
            if found := _find(key):  # another process was faster
                return found
            remove_unfinished(corpora())
            spool.writelines(numbers.data for numbers in beginning)
            beginning.clear()
            spool.writelines(numbers.data for numbers in rest)
            is_unchanged = key == _key(text, config.max_vocabulary)
            return _keep(scan, spool, key if is_unchanged else "")
    except OSError as error:
        advice = "XDG_CACHE_HOME may name another folder"
        raise UserError(f"cache: cannot keep the encoded text in {corpora()} ({error.strerror}); {advice}") from error


def corpora() -> Path:
    """The folder of encoded texts: `<SHA-256>.ids`, and JSON files, each named by a key, that describe them."""
    return cache_folder() / "corpora"


def _in_memory(scan: Scan, numbers: list[np.ndarray]) -> Encoded:
    vocabulary, ids = scan.ids(numbers)
    return Encoded(vocabulary, np.concatenate([*ids]), scan.hash.hexdigest())


def _key(text: Text, max_vocabulary: int) -> str:
    """A hash that changes when a file of `text` does; empty if one of them is not a regular file."""
    stats = [(str(file.path.resolve()), file.path.stat()) for file in text.files if file.path]
    if len(stats) < len(text.files):
        return ""
    versions = [(name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in stats]
    return hashlib.sha256(json.dumps([text.codec, max_vocabulary, versions]).encode()).hexdigest()


def _find(key: str) -> Encoded | None:
    """The text that was kept by `key`; None if there is none, or it is damaged."""
    try:
        about = json.loads((corpora() / f"{key}.json").read_text(encoding="utf-8"))
        vocabulary = Vocabulary(about["vocabulary"])
        ids = np.memmap(corpora() / f"{about['sha256']}.ids", vocabulary.dtype, "r")
        is_whole = about["characters"] == len(ids)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Encoded(vocabulary, ids, about["sha256"]) if is_whole else None


def _keep(scan: Scan, spool: IO[bytes], key: str) -> Encoded:
    """Write the ids of a text and their description, each file whole or not at all."""
    vocabulary, ids = scan.ids(_read_back(spool, scan))
    sha256 = scan.hash.hexdigest()
    file = corpora() / f"{sha256}.ids"
    if not (file.is_file() and file.stat().st_size == scan.characters * vocabulary.dtype.itemsize):
        with replacing(file) as stream:
            stream.writelines(piece.data for piece in ids)
    about = {"sha256": sha256, "characters": scan.characters, "vocabulary": vocabulary.characters}
    with replacing(corpora() / f"{key or sha256}.json") as stream:
        stream.write(json.dumps(about).encode())
    return Encoded(vocabulary, np.memmap(file, vocabulary.dtype, "r"), sha256)


def _read_back(spool: IO[bytes], scan: Scan) -> Iterator[np.ndarray]:
    spool.seek(0)
    with tqdm(desc="encoding", total=scan.characters, unit_scale=True, delay=BAR_DELAY, disable=None) as bar:
        for dtype, count in scan.counts.items():
            for start in range(0, count, PIECE):
                numbers = np.frombuffer(spool.read(min(PIECE, count - start) * dtype.itemsize), dtype)
                bar.update(len(numbers))
                yield numbers
