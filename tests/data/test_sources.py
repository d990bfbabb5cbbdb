import errno
import sysconfig
from pathlib import Path
from typing import NoReturn

import pytest

from data.config import DataConfig, Encoding, Source
from data.sources import load_text, python_stdlib
from errors import UserError

STDLIB = Path(sysconfig.get_path("stdlib"))


def read_path(path: str, encoding: Encoding = Encoding.utf8) -> str:
    return load_text(DataConfig(source=Source.python_stdlib, path=path, encoding=encoding))


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
    def refuse(_: Path, __: str) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "secret.txt").touch()
    monkeypatch.setattr(Path, "open", refuse)  # file modes do not stop the administrator
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
