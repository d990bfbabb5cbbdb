"""Downloads, without network: what comes, what is kept, and what is refused."""

import hashlib
import io
import os
import re
from dataclasses import replace
from email.message import Message
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, Request

import pytest

from data.config import DataConfig, Source
from data.download import TIMEOUT, Download, download
from data.sources import DOWNLOADS
from errors import UserError
from tests.data.helpers import load_text

PAGES = {"https://host/text": b"to be", "https://host/long": b"to be, or not", "https://host/cut": b"to"}
TO_BE = Download("https://host/text", hashlib.sha256(b"to be").hexdigest(), 5, "text.txt")
REQUESTS: list[tuple[str, float | None]] = []


def respond(_: HTTPSHandler, request: Request) -> HTTPResponse:
    """A web without network: pages, and redirects to wherever a query says."""
    REQUESTS.append((request.full_url, request.timeout))
    redirected, to = request.full_url.partition("?")[1:]
    head = f"302 Found\r\nLocation: {to}" if redirected else "200 OK"
    content = f"HTTP/1.1 {head}\r\n\r\n".encode() + PAGES.get(request.full_url, b"")
    response = HTTPResponse(Mock(makefile=Mock(return_value=io.BytesIO(content))))
    response.begin()
    response.msg = response.reason  # type: ignore[assignment] # as urllib does
    return response


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder for downloads."""
    REQUESTS.clear()
    monkeypatch.setattr(HTTPSHandler, "https_open", respond)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "charscope").mkdir()
    return tmp_path / "charscope"


def assert_refused(file: Download, message: str, cache: Path) -> None:
    """An error of one line, and nothing is kept."""
    with pytest.raises(UserError, match=message) as error:
        download(file)
    assert "\n" not in str(error.value)
    assert not cache.is_dir() or list(cache.iterdir()) == []


def test_a_file_is_downloaded_once(cache: Path) -> None:
    cache.rmdir()
    assert [download(TO_BE) for _ in range(2)] == [cache / "text.txt"] * 2
    assert (cache / "text.txt").read_bytes() == b"to be"
    assert list(REQUESTS) == [(TO_BE.url, TIMEOUT)]
    assert list(cache.iterdir()) == [cache / "text.txt"]


@pytest.mark.parametrize("size", [2, 5, 2**40])
def test_a_damaged_copy_is_downloaded_again_and_one_of_wrong_size_is_not_read(cache: Path, size: int) -> None:
    (cache / "text.txt").touch()
    os.truncate(cache / "text.txt", size)  # zeros, which take no space, but no memory could hold the most
    assert download(TO_BE).read_bytes() == b"to be"


@pytest.mark.parametrize("to", ["http://host/text", "ftp://host/text", "file:///text", "https://["])
def test_a_redirect_is_followed_within_https_and_refused_elsewhere(cache: Path, to: str) -> None:
    reason = f"could not download .*(expected a redirect to https, got {re.escape(to)}|not allowed|Invalid)"
    assert_refused(replace(TO_BE, url=f"https://host/?{to}"), reason, cache)
    assert len(REQUESTS) == 1
    assert download(replace(TO_BE, url=f"https://host/?{TO_BE.url}")) == cache / "text.txt"


@pytest.mark.parametrize(
    ("changes", "got"), [({"url": "https://host/long"}, 6), ({"url": "https://host/cut"}, 2), ({"sha256": "0" * 64}, 5)]
)
def test_another_file_is_refused(cache: Path, changes: dict[str, Any], got: int) -> None:
    file = replace(TO_BE, **changes)
    message = f"expected 5 bytes of SHA-256 {file.sha256}, got {got} bytes of .*; download it by hand"
    assert_refused(file, message, cache)


def test_the_words_of_a_server_are_one_line_that_no_terminal_obeys(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = HTTPError(TO_BE.url, 404, "no\x1b[2J\r\nhere", Message(), io.BytesIO())
    monkeypatch.setattr(HTTPSHandler, "https_open", Mock(side_effect=refusal))
    message = re.escape(r"could not download https://host/text (HTTP Error 404: no\x1b[2J here); download it by")
    assert_refused(TO_BE, message, cache)
    monkeypatch.undo()
    assert refusal.closed
    nobody_listens = replace(DOWNLOADS[Source.tiny_shakespeare], url="https://127.0.0.1:1/input.txt")
    assert_refused(nobody_listens, r"could not download .* give data\.path=FILE, or use data=python_stdlib", cache)


def test_a_download_that_cannot_be_kept_is_a_clear_error(cache: Path) -> None:
    cache.rmdir()
    cache.touch()
    assert_refused(TO_BE, "could not keep the download as .*File exists", cache)


def test_tiny_shakespeare_comes_from_the_cache(cache: Path, shakespeare: str) -> None:
    (cache / "tiny_shakespeare.txt").write_bytes(shakespeare.encode())
    text = load_text(DataConfig(source=Source.tiny_shakespeare))
    assert text == shakespeare
    assert (len(text), len(set(text))) == (1_115_394, 65)
    assert REQUESTS == []
