"""Texts as ids: small ones in memory, large ones in files, encoded once for all runs and mapped from there."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock

from data.config import DataConfig
from data.download import cache_folder
from data.encoding import Encoded, Survey, check_vocabulary, encoded, ids_of, survey
from data.mapped import mapped
from data.text import Text
from data.vocabulary import Vocabulary
from errors import UserError
from files import remove_unfinished, replacing

# Bytes of text from which on it is kept encoded: reading less takes about a second, and its ids a share of what
# training takes anyway.
LARGE = 2**28
FORMAT = 1  # of an entry; raise when an older reader could no longer make sense of it

Versions = list[tuple[str, int, int, int]]  # of files: path, size, and when content and state last changed


def encode_once(text: Text, config: DataConfig) -> Encoded:
    """The ids of `text`: mapped from the cache if it is large, in memory otherwise.

    A large text is read whole but once, as long as its files stay as they are. Raises UserError if it cannot be read,
    has too many distinct characters, or cannot be kept.
    """
    versions = _versions(text)
    known = corpora() / (hashlib.sha256(json.dumps([versions, config.encoding]).encode()).hexdigest() + ".txt")
    if versions and (kept := _kept(corpora() / _named(known))):
        check_vocabulary(len(kept.vocabulary), config.max_vocabulary, len(kept.ids))
        return kept
    found = survey(text.pieces(), config.max_vocabulary)
    ids = _second_pass(text, found, versions)
    if found.size < LARGE:
        return encoded(ids, found)
    entry = corpora() / found.sha256
    try:
        kept = _keep(entry, ids, found)
        if versions:
            with replacing(known) as stream:
                stream.write(found.sha256.encode())
    except OSError as error:
        size = found.characters * found.vocabulary.dtype.itemsize
        raise UserError(
            f"cache: cannot keep the encoded text, {size:,} bytes, in {entry} ({error.strerror}); XDG_CACHE_HOME may "
            "name another place"
        ) from error
    return kept


def corpora() -> Path:
    """The folder of encoded texts. Each has a folder in it, by its hash; beside them lies which files hold which."""
    return cache_folder() / "corpora"


def _versions(text: Text) -> Versions | None:
    """What changes when the text does; None if it is not all in files."""
    files = [part.file for part in text.parts if part.file is not None]
    if len(files) < len(text.parts):
        return None
    try:
        found = [(str(file.resolve()), file.stat()) for file in files]
    except OSError as error:
        raise UserError(f"data.path: cannot read {error.filename}: {error.strerror}") from error
    return [(name, state.st_size, state.st_mtime_ns, state.st_ctime_ns) for name, state in found]


def _second_pass(text: Text, found: Survey, versions: Versions | None) -> Iterator[np.ndarray]:
    yield from ids_of(text.pieces(), found)
    if _versions(text) != versions:
        raise UserError("data.path: expected files that nobody writes to, got some that changed while they were read")


def _named(known: Path) -> str:
    """The hash of the text that files of these versions hold; nothing if nobody knows."""
    try:
        content = known.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
    return content if re.fullmatch("[0-9a-f]{64}", content) else ""


def _keep(entry: Path, ids: Iterable[np.ndarray], found: Survey) -> Encoded:
    """Write an entry, unless another process has, or does so now: then wait for it."""
    entry.mkdir(parents=True, exist_ok=True)
    with FileLock(entry / ".lock"):
        if kept := _kept(entry):
            return kept
        remove_unfinished(entry)
        with replacing(entry / "ids") as stream:
            for part in ids:
                stream.write(part.data)
        about = {"format": FORMAT, "characters": found.characters, "vocabulary": found.vocabulary.characters}
        with replacing(entry / "about.json") as stream:
            stream.write(json.dumps(about).encode())
        kept = _kept(entry)
    assert kept
    return kept


def _kept(entry: Path) -> Encoded | None:
    """What is in the cache; None if that is nothing, or nothing whole."""
    try:
        about = json.loads((entry / "about.json").read_text(encoding="utf-8"))
        vocabulary = Vocabulary(about["vocabulary"])
        ids = mapped(entry / "ids", vocabulary.dtype)
        whole = (about["format"], about["characters"]) == (FORMAT, len(ids))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Encoded(vocabulary, ids, entry.name) if whole else None
