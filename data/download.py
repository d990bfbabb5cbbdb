"""Texts from the web: over https, of known size and SHA-256, kept in the cache folder."""

import hashlib
import os
from contextlib import ExitStack
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from errors import UserError
from files import replacing
from terminal import visible

TIMEOUT = 30  # seconds that a server may be silent
ADVICE = "download it by hand and give data.path=FILE, or use data=python_stdlib, which needs no network"


@dataclass(frozen=True)
class Download:
    """A file on the web, known to the last byte."""

    url: str
    sha256: str
    size: int  # in bytes
    name: str  # of the file in the cache


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/charscope`, by default `~/.cache/charscope`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "charscope"


def download(file: Download) -> Path:
    """The path of `file` in the cache, where it is downloaded to unless it is there. Raises UserError if it cannot be.

    Size and SHA-256 are checked each time.
    """
    kept = cache_folder() / file.name
    try:
        if kept.is_file() and kept.stat().st_size == file.size and _sha256(kept.read_bytes()) == file.sha256:
            return kept
        content = _fetch(file)
        found = f"{len(content)} bytes of SHA-256 {_sha256(content)}"
        if found != (expected := f"{file.size} bytes of SHA-256 {file.sha256}"):
            raise UserError(f"{file.url}: expected {expected}, got {found}; {ADVICE}")
        with replacing(kept) as stream:
            stream.write(content)
    except OSError as error:
        raise UserError(f"could not keep the download as {kept} ({error.strerror}); {ADVICE}") from error
    return kept


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _fetch(file: Download) -> bytes:
    """The answer of the server, up to one byte more than expected."""
    try:
        with ExitStack() as responses:
            return build_opener(_OnlyHttps(responses)).open(file.url, timeout=TIMEOUT).read(file.size + 1)
    except (OSError, HTTPException, ValueError) as error:  # ValueError: a redirect to what is no address
        if isinstance(error, HTTPError):  # a response of its own
            error.close()
        reason = visible(" ".join(str(error).split()))  # partly the server's words
        raise UserError(f"could not download {file.url} ({reason}); {ADVICE}") from error


@dataclass
class _OnlyHttps(HTTPRedirectHandler):
    responses: ExitStack  # closes those, too, that led elsewhere

    def https_response(self, _: Request, response: HTTPResponse) -> HTTPResponse:
        return self.responses.enter_context(response)

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> Request | None:
        if not newurl.lower().startswith("https:"):
            raise URLError(f"expected a redirect to https, got {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
