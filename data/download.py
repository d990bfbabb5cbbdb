"""Texts from the web: over https, of known size and checksum, kept in one folder and nowhere else."""

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from time import monotonic
from typing import NoReturn
from urllib.error import URLError
from urllib.request import (
    BaseHandler,
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from errors import UserError
from files import replacing
from terminal import visible

SILENCE = 30  # seconds that a server may take to say anything
PATIENCE = 300  # seconds that a download may take
INSTEAD = "fetch it by hand and give data.path=FILE, or use data=python_stdlib, which needs no network"


@dataclass(frozen=True)
class Download:
    """A text on the web, known to the last byte."""

    url: str
    sha256: str
    size: int  # in bytes
    name: str  # of the file that keeps it


def cache_folder() -> Path:
    """Where downloads are kept: `$XDG_CACHE_HOME/charscope`, by default `~/.cache/charscope`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "charscope"


def download(text: Download) -> bytes:
    """The content of `text`: as it was kept in the cache if that is sound, else fetched, checked and kept.

    Of whatever is there, or comes, one byte too many is read at most. Raises UserError if the content cannot be had or
    kept, or if its place in the cache could lead out of it.
    """
    if not re.fullmatch(r"\w[\w.-]*", text.name, re.ASCII):
        raise UserError(f"cache: expected the plain name of a file, got {text.name!r}")
    file = cache_folder() / text.name
    content = _kept(file, text.size)
    if not _flaw(content, text):
        return content
    try:
        content = _fetched(text)
    except (OSError, HTTPException, ValueError) as error:  # the last where a redirect leads to no address
        reason = visible(" ".join(str(error).split()))  # in part the server's words
        raise UserError(f"could not download {text.url} ({reason}); {INSTEAD}") from error
    if flaw := _flaw(content, text):
        raise UserError(f"{text.url}: {flaw}, which was not kept; {INSTEAD}")
    try:
        with replacing(file) as stream:
            stream.write(content)
    except OSError as error:
        raise UserError(f"could not keep the download as {file} ({error.strerror}); {INSTEAD}") from error
    return content


def _flaw(content: bytes, text: Download) -> str:
    """What is wrong with it in words, if anything."""
    if len(content) != text.size:
        return f"expected {text.size} bytes, got {'more' if len(content) > text.size else len(content)}"
    found = hashlib.sha256(content).hexdigest()
    return "" if found == text.sha256 else f"expected SHA-256 {text.sha256}, got {found}"


def _kept(file: Path, size: int) -> bytes:
    """What is in the cache, up to one byte more than `size`. Raises UserError if it cannot be read or is no file."""
    try:
        if not stat.S_ISREG(file.lstat().st_mode):  # a link may lead anywhere, and a pipe never ends
            found = f"a link to {os.readlink(file)}" if file.is_symlink() else "something else"
            raise UserError(f"cache: expected a file at {file}, got {found}; remove it, or give data.path=FILE")
        with open(file, "rb") as stream:
            return stream.read(size + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise UserError(f"cache: cannot read {file} ({error.strerror}); {INSTEAD}") from error


def _fetched(text: Download) -> bytes:
    """What the server sends, up to one byte more than there should be. Raises OSError, HTTPException or ValueError."""
    content, end = b"", monotonic() + PATIENCE
    with _https().open(text.url, timeout=SILENCE) as response:
        while piece := response.read1(text.size + 1 - len(content)):
            content += piece
            if monotonic() > end:
                raise TimeoutError(f"not finished after {PATIENCE} s")
    return content


def _https() -> OpenerDirector:
    """Opens what is on https, and nothing else wherever a redirect leads. Raises URLError there."""
    opener = OpenerDirector()
    for handler in (ProxyHandler, HTTPSHandler, HTTPRedirectHandler, HTTPErrorProcessor, HTTPDefaultErrorHandler):
        opener.add_handler(handler())
    opener.add_handler(_AnythingElse())
    return opener


class _AnythingElse(BaseHandler):
    def unknown_open(self, request: Request) -> NoReturn:
        raise URLError(f"expected https, got {request.full_url}")
