"""Downloads, without network: what comes, what is kept, and what is refused."""

import hashlib
import io
import os
import re
import sys
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import ClassVar, NoReturn
from urllib.error import HTTPError
from urllib.request import BaseHandler, Request
from urllib.response import addinfourl

import pytest

from data import download as downloads
from data.config import DataConfig, Source
from data.download import PATIENCE, SILENCE, Download, download
from data.sources import TINY_SHAKESPEARE, load_text
from errors import UserError

PAGES = {"https://host/text": b"to be", "https://host/long": b"to be, or not", "https://host/cut": b"to"}
TO_BE = Download("https://host/text", hashlib.sha256(b"to be").hexdigest(), 5, "text.txt")


class Body(io.BytesIO):
    """It tells afterwards, too, how much of it was read."""

    def close(self) -> None:
        pass


class Web(BaseHandler):
    """What https finds in these tests: pages, and redirects to wherever a query says."""

    asked: ClassVar[list[tuple[str, float | None]]] = []
    sent: ClassVar[list[Body]] = []

    def https_open(self, request: Request) -> addinfourl:
        self.asked.append((request.full_url, request.timeout))
        self.sent.append(Body(PAGES.get(request.full_url, b"")))
        _, redirected, to = request.full_url.partition("?")
        headers = Message()
        headers["Location"] = to
        response = addinfourl(self.sent[-1], headers, request.full_url, 302 if redirected else 200)
        response.msg = ""  # type: ignore[attr-defined] # as responses of http.client have
        return response


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder for downloads, and a web without network."""
    monkeypatch.setattr(downloads, "HTTPSHandler", Web)
    monkeypatch.setattr(Web, "asked", [])
    monkeypatch.setattr(Web, "sent", [])
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "charscope").mkdir()
    return tmp_path / "charscope"


def refused(text: Download, message: str) -> None:
    """It is an error of one line."""
    with pytest.raises(UserError, match=message) as error:
        download(text)
    assert "\n" not in str(error.value)


def test_a_download_is_fetched_once(cache: Path) -> None:
    cache.rmdir()
    assert [download(TO_BE) for _ in range(2)] == [b"to be"] * 2
    assert Web.asked == [(TO_BE.url, SILENCE)]
    assert list(cache.iterdir()) == [cache / "text.txt"]


@pytest.mark.parametrize("content", [b"to", b"to do", b"to be, or not"])
def test_a_damaged_copy_is_fetched_again(cache: Path, content: bytes) -> None:
    (cache / "text.txt").write_bytes(content)
    assert download(TO_BE) == b"to be" == (cache / "text.txt").read_bytes()


def test_a_copy_of_any_size_is_not_read_whole(cache: Path) -> None:
    (cache / "text.txt").touch()
    os.truncate(cache / "text.txt", 2**40)  # takes no space, but no memory could hold it
    assert download(TO_BE) == b"to be"


@pytest.mark.parametrize("url", ["http://host/text", "ftp://host/text", "file:///text", "data:,to%20be"])
def test_nothing_but_https_is_asked(cache: Path, url: str) -> None:
    refused(replace(TO_BE, url=url), f"could not download {url} .*expected https, got {url}")
    assert [*Web.asked, *cache.iterdir()] == []


def test_a_redirect_within_https_is_followed(cache: Path) -> None:
    assert download(replace(TO_BE, url=f"https://host/?{TO_BE.url}")) == b"to be" == (cache / "text.txt").read_bytes()


@pytest.mark.parametrize("to", ["http://host/text", "ftp://host/text", "file:///text", "https://["])
def test_a_redirect_away_from_https_is_refused(cache: Path, to: str) -> None:
    refused(
        replace(TO_BE, url=f"https://host/?{to}"),
        f"could not download .*(expected https, got {re.escape(to)}|not allowed|Invalid)",
    )
    assert len(Web.asked) == 1
    assert list(cache.iterdir()) == []


def test_of_a_download_that_is_too_long_one_byte_too_many_is_read(cache: Path) -> None:
    refused(replace(TO_BE, url="https://host/long"), "expected 5 bytes, got more, which was not kept; fetch it by hand")
    assert Web.sent[0].tell() == 6
    assert list(cache.iterdir()) == []


def test_a_download_that_ends_early_is_a_clear_error(cache: Path) -> None:
    refused(replace(TO_BE, url="https://host/cut"), "expected 5 bytes, got 2, which was not kept")
    assert list(cache.iterdir()) == []


def test_a_download_that_trickles_is_given_up(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "monotonic", iter([0, PATIENCE + 1]).__next__)
    refused(TO_BE, f"could not download .*not finished after {PATIENCE} s")
    assert list(cache.iterdir()) == []


def test_the_words_of_a_server_are_one_line_that_no_terminal_obeys(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Web, request: Request) -> NoReturn:
        raise HTTPError(request.full_url, 404, "no\x1b[2J\r\nhere", Message(), None)

    monkeypatch.setattr(Web, "https_open", refuse)
    refused(TO_BE, re.escape(r"could not download https://host/text (HTTP Error 404: no\x1b[2J here); fetch it by"))
    assert list(cache.iterdir()) == []


def test_a_download_with_another_checksum_is_not_kept(cache: Path) -> None:
    refused(replace(TO_BE, sha256="0" * 64), r"expected SHA-256 00.*, got .* was not kept; fetch it by hand")
    assert list(cache.iterdir()) == []


def test_a_download_that_cannot_be_kept_is_a_clear_error(cache: Path) -> None:
    cache.rmdir()
    cache.symlink_to("nowhere")
    refused(TO_BE, "could not keep the download as .*File exists")


def test_a_cache_that_cannot_be_read_is_a_clear_error(cache: Path) -> None:
    cache.rmdir()
    cache.touch()
    refused(TO_BE, "cache: cannot read .*Not a directory")


@pytest.mark.parametrize(
    "name", ["..", ".", "", "../text", "a/b", "/text", "a\\b", "C:text", ".hidden", "text\n", "a\0"]
)
def test_a_name_that_leads_out_of_the_cache_is_refused(cache: Path, name: str) -> None:
    refused(replace(TO_BE, name=name), "cache: expected the plain name of a file, got " + re.escape(repr(name)))
    assert [*Web.asked, *cache.iterdir()] == []


def test_a_link_in_the_cache_is_refused(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"to be")
    (cache / "text.txt").symlink_to(tmp_path / "elsewhere")
    refused(TO_BE, "cache: expected a file at .*text.txt, got a link to .*elsewhere; remove it, or give data.path=FILE")
    assert Web.asked == []


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")
def test_a_pipe_in_the_cache_is_refused_and_not_waited_for(cache: Path) -> None:
    os.mkfifo(cache / "text.txt")
    refused(TO_BE, "cache: expected a file at .*, got something else")


def test_the_cache_itself_may_be_a_link(cache: Path, tmp_path: Path) -> None:
    cache.rename(tmp_path / "large_disk")
    cache.symlink_to("large_disk")
    assert download(TO_BE) == b"to be" == (tmp_path / "large_disk" / "text.txt").read_bytes()


def test_without_network_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    nobody_listens = replace(TINY_SHAKESPEARE, url="https://127.0.0.1:1/input.txt")
    refused(nobody_listens, r"could not download .* give data\.path=FILE, or use data=python_stdlib")


def test_tiny_shakespeare_comes_from_the_cache(cache: Path, shakespeare: str) -> None:
    (cache / "tiny_shakespeare.txt").write_bytes(shakespeare.encode())
    text = load_text(DataConfig(source=Source.tiny_shakespeare))
    assert text == shakespeare
    assert (len(text), len(set(text))) == (1_115_394, 65)
    assert Web.asked == []
