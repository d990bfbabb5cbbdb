"""A text to ids in two passes: the first finds its characters, the second writes their ids. Never all of it at once."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from data.text import Piece
from data.vocabulary import Vocabulary, codepoints
from errors import UserError

CODEPOINTS = 0x110000  # that Unicode has room for
SHOWN_AFTER = 2.0  # seconds until a bar shows how far it is


@dataclass(frozen=True)
class Survey:
    """What there is to know of a text before it is encoded."""

    vocabulary: Vocabulary
    characters: int
    size: int  # in bytes, as it was read
    sha256: str  # of the text as UTF-8


@dataclass(frozen=True)
class Encoded:
    """A text as ids, in the smallest integer type that holds them."""

    vocabulary: Vocabulary
    ids: np.ndarray  # (characters,)
    sha256: str  # of the text as UTF-8


def survey(pieces: Iterable[Piece], most: int) -> Survey:
    """The first pass. Raises UserError as soon as there are more than `most` distinct characters, and if none is."""
    digest, characters, size = hashlib.sha256(), 0, 0
    seen, known = np.zeros(CODEPOINTS, dtype=bool), b""  # the latter: those that a byte can stand for
    with tqdm(desc="reading", unit="B", unit_scale=True, delay=SHOWN_AFTER, disable=None) as bar:
        for piece in pieces:
            digest.update(piece.utf8())
            characters, size = characters + len(piece), size + len(piece.raw)
            bar.update(len(piece.raw))
            if piece.text is None:
                found = np.frombuffer(piece.raw.translate(None, known), dtype=np.uint8)
                is_new = len(found) > 0
            else:
                found = codepoints(piece.text)
                is_new = not seen.take(found).all()
            if is_new:
                seen[found] = True
                known = np.flatnonzero(seen[:256]).astype(np.uint8).tobytes()
                check_vocabulary(int(seen.sum()), most, characters)
    if not characters:
        raise UserError("expected some text to learn from, got none: the source is empty")
    vocabulary = Vocabulary("".join(map(chr, np.flatnonzero(seen).tolist())))
    return Survey(vocabulary, characters, size, digest.hexdigest())


def check_vocabulary(size: int, most: int, characters: int) -> None:
    """Raise UserError if `characters` of text have too many distinct ones."""
    if size > most:
        raise UserError(
            f"expected at most data.max_vocabulary={most} distinct characters, got {size} in {characters:,} characters "
            "of text; raise it if this is meant"
        )


def ids_of(pieces: Iterable[Piece], found: Survey) -> Iterator[np.ndarray]:
    """The second pass: the ids of each piece. Raises UserError if the text is no longer as long as it was `found`."""
    narrow, wide = found.vocabulary.tables()
    characters = 0
    with tqdm(desc="encoding", total=found.size, unit="B", unit_scale=True, delay=SHOWN_AFTER, disable=None) as bar:
        for piece in pieces:
            if piece.text is None:  # such characters come first in every vocabulary: their ids fit in a byte
                yield np.frombuffer(piece.raw.translate(narrow), dtype=np.uint8).astype(wide.dtype, copy=False)
            else:
                yield wide.take(codepoints(piece.text), mode="clip")
            characters += len(piece)
            bar.update(len(piece.raw))
    if characters != found.characters:
        raise UserError(
            f"expected {found.characters:,} characters as a moment ago, got {characters:,}: the text changed"
        )


def encoded(parts: Iterable[np.ndarray], found: Survey) -> Encoded:
    """The ids of the second pass, put together in memory."""
    ids, end = np.empty(found.characters, dtype=found.vocabulary.dtype), 0
    for part in parts:
        ids[end : end + len(part)] = part
        end += len(part)
    return Encoded(found.vocabulary, ids, found.sha256)
