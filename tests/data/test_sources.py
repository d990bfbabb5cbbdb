import errno
import hashlib
import sysconfig
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from data import sources
from data.config import DataConfig, Source
from data.sources import cache_folder, download, load_text, python_stdlib, read_path
from errors import UserError

STDLIB = Path(sysconfig.get_path("stdlib"))


def test_the_standard_library_is_plain_text_in_sorted_order_without_tests() -> None:
    text = python_stdlib(STDLIB)
    assert set(text) <= set(map(chr, range(32, 127))) | {"\n", "\t"}
    argparse, textwrap = ((STDLIB / name).read_text("utf-8") for name in ("argparse.py", "textwrap.py"))
    assert 0 <= text.index(argparse) < text.index(textwrap)
    assert (STDLIB / "unittest" / "mock.py").read_text("utf-8") in text
    assert text == load_text(DataConfig(source=Source.python_stdlib))


def test_the_library_leaves_out_tests_and_files_beyond_ascii(tmp_path: Path) -> None:
    for name, content in {
        "b.py": b"b\r\n",
        "a/a.py": b"a\n",
        "test/t.py": b"t\n",
        "site-packages/s.py": b"s\n",
        "accent.py": "é\n".encode(),
        "latin.py": b"\xe9\n",
        "feed.py": b"\f\n",
        "text.txt": b"x\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert python_stdlib(tmp_path) == "a\nb\n"


def test_a_library_without_source_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected the source of Python's library.*data\.path=FILE"):
        python_stdlib(tmp_path)


def test_own_text_wins_over_the_named_source(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("own")
    assert load_text(DataConfig(source=Source.tiny_shakespeare, path=str(tmp_path / "own.txt"))) == "own"


def test_a_file_is_read_as_it_is_in_any_script(tmp_path: Path) -> None:
    text = "春眠不覺曉\r\n😀👩‍👩‍👧 e\u0301 \ufeff\n"
    (tmp_path / "text.txt").write_bytes(text.encode())
    assert read_path(str(tmp_path / "text.txt")) == text


@pytest.mark.parametrize("name", ["", "*", "**/*.txt"])
def test_folders_and_globs_join_their_files_in_sorted_order_on_lines_of_their_own(tmp_path: Path, name: str) -> None:
    (tmp_path / "b").mkdir()
    for file, content in {"c.txt": "c", "a.txt": "a", "b/b.txt": "b\n"}.items():
        (tmp_path / file).write_text(content)
    if name == "":
        (tmp_path / ".hidden").write_text("h")
    expected = "a\nc" if name == "*" else "a\nb\nc"
    assert read_path(str(tmp_path / name)) == expected


def test_nothing_to_read_is_a_clear_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.txt", tmp_path / "*.txt"):
        with pytest.raises(UserError, match=r"data\.path: expected a file, a folder with files or a glob"):
            read_path(str(path))


@pytest.mark.parametrize("path", ["~nobody-of-this-name/text", "x" * 400])
def test_a_path_that_cannot_be_looked_for_is_a_clear_error(path: str) -> None:
    with pytest.raises(UserError, match=r"data\.path: "):
        read_path(path)


def test_an_unreadable_file_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "secret.txt").touch()
    monkeypatch.setattr(Path, "read_bytes", refuse)  # file modes do not stop the administrator
    with pytest.raises(UserError, match=r"data\.path: cannot read .*secret\.txt: Permission denied"):
        read_path(str(tmp_path / "secret.txt"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"good\xe9\n", r"bad\.txt: expected UTF-8 text, got byte 0xe9 at offset 4"),
        ("né".encode()[:-1], "got byte 0xc3 at offset 1"),
        (b"\x89PNG\r\n\0", "got binary data .a zero byte at offset 6."),
    ],
)
def test_what_is_not_utf8_text_is_named_with_file_and_offset(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_path(str(tmp_path / "bad.txt"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """A page on this machine that says "to be", and the requests it has had."""
    monkeypatch.setenv("no_proxy", "*")
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(200)
            if self.path.endswith("?cut"):
                self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"to be")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/text", requests
        http.shutdown()
        thread.join()


TO_BE = hashlib.sha256(b"to be").hexdigest()


def test_a_download_is_fetched_once(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    url, requests = server
    file = tmp_path / "cache" / "text.txt"
    assert [download(url, TO_BE, file) for _ in range(2)] == [b"to be"] * 2
    assert len(requests) == 1
    assert list(file.parent.iterdir()) == [file]


def test_a_damaged_copy_is_fetched_again(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    file = tmp_path / "text.txt"
    file.write_bytes(b"to")
    assert download(server[0], TO_BE, file) == b"to be" == file.read_bytes()


def test_a_download_that_ends_early_is_a_clear_error(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    with pytest.raises(UserError, match=r"could not download .*IncompleteRead"):
        download(server[0] + "?cut", TO_BE, tmp_path / "text.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_cannot_be_kept_is_a_clear_error(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="could not keep the download as"):
        download(server[0], TO_BE, tmp_path / "file" / "text.txt")


def test_a_download_with_another_checksum_is_not_kept(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    with pytest.raises(UserError, match=r"expected SHA-256 00.*, got .* was not kept; fetch it by hand"):
        download(server[0], "0" * 64, tmp_path / "text.txt")
    assert list(tmp_path.iterdir()) == []


def test_without_network_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sources, "TINY_SHAKESPEARE_URL", "http://127.0.0.1:1/input.txt")  # nobody listens there
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        UserError, match=r"could not download .* give data\.path=FILE, or use data=python_stdlib"
    ) as error:
        load_text(DataConfig(source=Source.tiny_shakespeare))
    assert "\n" not in str(error.value)


def test_tiny_shakespeare_comes_from_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shakespeare: str
) -> None:
    monkeypatch.setattr(sources, "TINY_SHAKESPEARE_URL", "http://127.0.0.1:1/input.txt")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache_folder().mkdir()
    (cache_folder() / "tiny_shakespeare.txt").write_bytes(shakespeare.encode())
    text = load_text(DataConfig(source=Source.tiny_shakespeare))
    assert text == shakespeare
    assert (len(text), len(set(text))) == (1_115_394, 65)
