"""Files to text, in a stream; what is no text is named by its first bytes, or with encodings that it may have."""

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from io import IncrementalNewlineDecoder
from itertools import chain
from pathlib import Path
from typing import IO

from tqdm import tqdm

from data.config import BYTES, Unreadable
from errors import UserError

PIECE = 2**16  # bytes read at once: larger arrays would be allocated anew from the system each time
BAR_DELAY = 2.0  # seconds until a progress bar appears
LISTED = 3  # files, in messages
MARK = "\ufeff"  # the byte order mark
WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")  # in place of UTF-8; two of their marks begin alike
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh9": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "Zstandard"}
OTHERS = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"RIFF": "WebP, WAV or AVI"}
OTHERS |= {b"PK\3\4": "zip", b"%PDF-": "PDF", b"SQLite": "SQLite", b"\x7fELF": "ELF", b"MZ\x90": "Windows program"}
LATIN = "[{0}]{{0,3}}([a-zA-Z]+[{0}]{{0,3}})+|[©®°±§£«»‘’“”–—…]"
WORDS = {  # beyond ASCII in texts of these encodings
    "utf8": "[^\ufffd]+",
    "cp1252": LATIN.format("À-ÖØ-öø-ÿ"),
    "cp1250": LATIN.format("ěščřžýáíéůúťďňąęłśżźćńóőűöüăâîşţĚŠČŘŽÝÁÍÉÚŤĎŇŁŚŻŹĆŃÓŐŰÖÜĂÂÎŞŢ"),
    "cp1251 koi8_r": "[А-ЯЁ]?[а-яё]+|[А-ЯЁ]|[«»“”–—…№]",
    "cp1253": "[Ά-Ϋ]?[ά-ρσ-ώ]+ς?",
    "gbk big5": "[一-龥]*[的一是不了在人有我他這这為为中大來来上国國個个到說说們们時时道][一-龥]*|[，。、：；“”「」]",
    "shift_jis euc_jp": "[一-龥]*[ぁ-んァ-ヶー][一-龥ぁ-んァ-ヶー]*|[、。「」]",
    "euc_kr": "[가-힣]+",
}


class UnreadableError(UserError):
    """A file that cannot be read or is no text: what was `got`, and `advice` for a text of such files alone."""

    def __init__(self, message: str, got: str, advice: str = "") -> None:
        super().__init__(f"{message}{got}{advice and '; '}{advice}")
        self.got, self.advice = got, advice


@dataclass(frozen=True)
class TextFile:
    """Bytes that can be opened."""

    name: str  # for messages
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    path: Path | None = None  # of a regular file, whose size and times tell whether it has changed


@dataclass
class Text:
    """Files in their order, each on lines of its own, decoded; `remark` says afterwards what is not as in the files."""

    files: tuple[TextFile, ...]
    encoding: str
    unreadable: Unreadable = Unreadable.error
    remark: str = field(default="", init=False)
    _line_ends: int = field(default=0, init=False)  # that were translated

    def pieces(self) -> Iterator[str]:
        """Decode each file once; with `Unreadable.skip` twice, first to find those to leave out.

        Raises UserError for what cannot be read or, with its offset, cannot be decoded: of several files for all of
        these together.
        """
        files, self.remark = self.files, ""
        if self.unreadable is Unreadable.skip and len(files) > 1 and (bad := self._unreadable(files)):
            if not (files := tuple(file for file in files if file not in bad)):
                raise self._refusal(bad)
            self.remark = f"{len(bad):,} of {len(self.files):,} files left out: {_listed([file.name for file in bad])}"
        self._line_ends = 0
        for number, file in enumerate(files, 1):
            end = ""
            try:
                for piece in self._decode(file):
                    yield piece
                    end = piece[-1]
            except UnreadableError as error:
                raise self._refusal({file: error} | self._unreadable(files[number:])) from error
            if end != "\n" and number < len(files):
                yield "\n"  # a file that ends in the middle of a line must not run into the next one
        if self._line_ends:
            self.remark += f"{self.remark and '; '}{self._line_ends:,} line ends \\r\\n or \\r became \\n"

    def _decode(self, file: TextFile) -> Iterator[str]:
        """Pieces of at least one character, whole though a read may end within one."""
        if self.encoding == BYTES:
            yield from (content.decode("latin-1") for content in _read(file))
            return
        contents, start, offset = _read(file), b"", 0
        while len(start) < 4 and (content := next(contents, b"")):  # the longest mark
            start += content
        wide = WIDE if codecs.lookup(self.encoding).name == "utf-8" else ()
        codec, mark = next((each for each in wide if start.startswith(MARK.encode(each))), self.encoding), MARK
        decoder, newlines = codecs.getincrementaldecoder(codec)(), IncrementalNewlineDecoder(None, translate=True)
        held = False  # whether the newline decoder waits for what follows a \r
        for content in chain([start], contents, [b""]):
            waiting = decoder.getstate()[0]
            try:
                text = decoder.decode(content, final=not content)
                utf8 = content if codec == "utf8" else text.encode()  # lone surrogates fail, which UTF-7 can hold
                if b"\0" in utf8:
                    raise UnicodeError("a zero character")
            except UnicodeError as error:
                got, advice = _explain(error, start, waiting + content, offset - len(waiting), codec)
                raise UnreadableError(f"{file.name}: expected {codec} text, got ", got, advice) from error
            if text:
                text, mark = text.removeprefix(mark), ""
            if held or b"\r" in utf8:
                self._line_ends += text.count("\r")
                held, text = text.endswith("\r"), newlines.decode(text, final=not content)
            if text:
                yield text
            offset += len(content)

    def _unreadable(self, files: Sequence[TextFile]) -> dict[TextFile, UnreadableError]:
        found = {}
        for file in tqdm(files, desc="checking", unit=" files", delay=BAR_DELAY, disable=None):
            try:
                for _ in self._decode(file):
                    pass
            except UnreadableError as error:
                found[file] = UnreadableError("", error.got, error.advice)  # whose traceback holds no open file
        return found

    def _refusal(self, bad: dict[TextFile, UnreadableError]) -> UserError:
        first = next(iter(bad.values()))
        if len(self.files) == 1:
            return first
        listed = _listed([f"{file.name} ({error.got})" for file, error in bad.items()])
        skip = "data.unreadable=skip leaves them out, as may a glob such as data.path='folder/*.txt'"
        advice = skip if len(bad) < len(self.files) else first.advice or "data.encoding=bytes takes any"
        counts = f"{len(bad):,} of {len(self.files):,} that cannot be read as text"
        return UserError(f"data.path: expected text files, got {counts}: {listed}; {advice}")


def _explain(error: UnicodeError, start: bytes, content: bytes, offset: int, codec: str) -> tuple[str, str]:
    """The error in `content`, which lies at `offset` in a file that begins with `start`, in words, and advice."""
    if kind := next((kind for magic, kind in (COMPRESSED | OTHERS).items() if start.startswith(magic)), ""):
        return f"{kind} data", "decompress it first" if kind in COMPRESSED.values() else ""
    others = "data.encoding= takes any of Python's text codecs, or bytes"
    if 0 not in "a".encode(codec) and (zero := content.find(0)) >= 0:
        return f"binary data (a zero byte at offset {offset + zero})", others
    if not isinstance(error, UnicodeDecodeError):
        return str(error), others
    got = f"byte 0x{content[error.start]:02x} at offset {offset + error.start}"
    if error.reason in ("unexpected end of data", "truncated data"):
        return f"{got}, the beginning of a character, where the text ends", others
    found = [] if codec in WIDE else likely(content[max(error.start - 100, 0) : error.start + 4000])
    if not found or codecs.lookup(codec).name.startswith(codecs.lookup(found[0]).name):  # of it, but for this byte
        return got, others
    return f"{got}, likely {' or '.join(found)}", f"if so, give data.encoding={found[0]}"


def likely(content: bytes) -> list[str]:
    """The encodings, likeliest first, in which most words of `content` look like words."""
    shares = {}
    for names, pattern in WORDS.items():
        for codec in names.split():
            with suppress(UnicodeDecodeError):
                errors = "replace" if codec == "utf8" else "strict"  # a bad byte is no reason to take it for another
                text = codecs.getincrementaldecoder(codec)(errors).decode(content)  # whose end may be cut
                words = [word for word in re.findall(r"[^\W\d_]+|[^\x00-\x7f]", text) if not word.isascii()]
                shares[codec] = sum(bool(re.fullmatch(pattern, word)) for word in words) / max(len(words), 1)
    return sorted((codec for codec, share in shares.items() if share > 0.5), key=shares.__getitem__, reverse=True)


def _listed(items: list[str]) -> str:
    return ", ".join(items[:LISTED]) + (f" and {len(items) - LISTED:,} more" if len(items) > LISTED else "")


def _read(file: TextFile) -> Iterator[bytes]:
    try:
        with file.open() as stream:
            while content := stream.read(PIECE):
                yield content
    except OSError as error:
        raise UnreadableError(f"data.path: cannot read {file.name}: ", error.strerror or str(error)) from error
    except Exception as error:  # each way to decompress has errors of its own
        reason = " ".join(str(error).split())
        raise UnreadableError(f"data.path: cannot decompress {file.name}: ", reason) from error
