"""Files as people have them: marks, line ends, encodings, bad ones among good ones, links, odd names."""

import gzip
import json
import os
import re
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data.config import DataConfig, Unreadable
from data.encode import Encoded, encode_once
from data.sources import find_text
from errors import UserError
from sampling.prompt import as_text, read_prompt
from tests.commands.helpers import TINY, call
from tests.data.helpers import load_text
from tests.data.test_sources import config
from training.checkpoint import load_checkpoint
from training.run_folder import LAST

FRENCH, RUSSIAN, CHINESE = (
    "Où est le café ? “Ici”, dit l’élève.\n",
    "Съешь еще этих булок\n",
    "我不知道他是谁的，天下\n",
)


def read(settings: DataConfig) -> tuple[str, Encoded]:
    found = encode_once(find_text(settings), settings)
    return found.vocabulary.decode(found.ids), found


def test_a_byte_order_mark_is_dropped_at_the_beginning_of_each_file(tmp_path: Path) -> None:
    content = "\ufeffa\ufeffb\n".encode()
    for name in "12":
        (tmp_path / name).write_bytes(content)
    assert load_text(config(tmp_path)) == load_text(config(tmp_path / "*")) == "a\ufeffb\n" * 2
    assert load_text(config(tmp_path / "1", "bytes")) == content.decode("latin-1")
    file = str(tmp_path / "1")
    assert as_text(read_prompt(None, file), file) == "a\ufeffb\n"


@pytest.mark.parametrize("size", range(1, 9))
def test_line_ends_are_those_of_open_and_are_counted(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data.text.PIECE", size)
    first, second = b"emma\rava\r\n\r\rmia\r", b"\nnoah\r\nliam"
    for name, content in {"1": first, "2": second, "3": b"zoe"}.items():
        (tmp_path / name).write_bytes(content)
    text, found = read(config(tmp_path))
    assert text == (tmp_path / "1").read_text() + (tmp_path / "2").read_text() + "\nzoe"
    assert found.remark == r"6 line ends \r\n or \r became \n"
    file = str(tmp_path / "1")
    assert as_text(read_prompt(None, file), file) == (tmp_path / "1").read_text()
    text, found = read(config(tmp_path / "1", "bytes"))
    assert (text, found.remark) == (first.decode(), "")


@pytest.mark.parametrize("size", [1, 3, 64])
@pytest.mark.parametrize("codec", ["utf-16", "utf-32", "cp1251", "koi8-r", "iso2022_jp", "gb18030", "utf-7"])
def test_any_text_codec_is_read_in_a_stream(
    tmp_path: Path, codec: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data.text.PIECE", size)
    (tmp_path / "text").write_bytes(RUSSIAN.replace("\n", "\r\n").encode(codec))
    assert load_text(config(tmp_path / "text", codec)) == RUSSIAN
    if codec in ("utf-16", "utf-32"):
        assert load_text(config(tmp_path / "text")) == RUSSIAN


@pytest.mark.parametrize("name", ["base64", "rot13", "punycode", "undefined", "utf9", "", "é", "a\0"])
def test_what_is_no_text_codec_is_refused_before_anything_is_read(name: str) -> None:
    (problem,) = config("text", name).problems()
    assert problem == f"data.encoding: expected utf8, bytes or a text codec of Python's, got {name!r}"
    assert not config("text", "Windows-1251").problems()


@pytest.mark.parametrize(
    ("content", "got"),
    {
        FRENCH.encode("cp1252"): r"byte 0xf9 at offset 1, likely cp1252.*; if so, give data\.encoding=cp1252$",
        RUSSIAN.encode("cp1251"): r"byte 0xd1 at offset 0, likely cp1251.*; if so, give data\.encoding=cp1251$",
        RUSSIAN.encode("koi8_r"): r"byte 0xf3 at offset 0, likely koi8_r; if so, give data\.encoding=koi8_r$",
        CHINESE.encode("gbk"): r"byte 0xce at offset 0, likely gbk; if so, give data\.encoding=gbk$",
        FRENCH.encode() + b"\xe9 ": r"byte 0xe9 at offset 47; data\.encoding= takes",  # UTF-8 but for this byte
        RUSSIAN.encode()[:3]: "byte 0xd1 at offset 2, the beginning of a character, where the text ends; data.encoding",
        b"a\0": r"binary data \(a zero byte at offset 1\); data\.encoding= takes",  # UTF-16 without its mark
        gzip.compress(b"a" * 99, mtime=0): "gzip data; decompress it first",
        b"\x28\xb5\x2f\xfd\x24\0\1\0\0\x99\xe9\xd8\x51": "Zstandard data; decompress it first",
        b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n": "PDF data$",
    }.items(),
)
def test_what_is_no_utf_8_is_refused_with_the_way_out(tmp_path: Path, content: bytes, got: str) -> None:
    (tmp_path / "text").write_bytes(content)
    for codec in ("utf8", "utf-8"):
        with pytest.raises(UserError, match=f"text: expected {codec} text, got {got}"):
            load_text(config(tmp_path, codec))
    (tmp_path / "text").write_text("%PDF-, PK\3\4 and MZ are text")
    assert load_text(config(tmp_path)) == "%PDF-, PK\3\4 and MZ are text"


@pytest.mark.parametrize("large", [1, 10**9])
def test_all_bad_files_are_named_at_once_or_left_out_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setattr("data.encode.LARGE", large)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    bad = {"b": b"x" * 99_999 + b"\xe9 ", "c": b"\0", "e.gz": b"\x1f\x8b", "f": b"\xff"}
    for name, content in ({"a": b"good\n", "d": b"fine\r\n"} | bad).items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(
        UserError, match=r"got 4 of 6 .*b \(byte 0xe9 at offset 99999.*c \(.* 1 more; data\.unreadable="
    ):
        read(config(tmp_path))
    for _ in range(2):  # the second time from the cache
        text, found = read(config(tmp_path, unreadable=Unreadable.skip))
        assert text == "good\nfine\n"
        assert re.fullmatch(r"4 of 6 files left out: .*b, .*c, .*e\.gz and 1 more; 1 line ends .*", found.remark)
    with pytest.raises(UserError, match=r"got 2 of 2 that"):
        read(config(tmp_path / "[bc]", unreadable=Unreadable.skip))


def test_a_file_that_links_lead_to_is_read_once(tmp_path: Path) -> None:
    for name in "bca":
        (tmp_path / name).write_text(name)
    (tmp_path / "0").symlink_to("c")
    os.link(tmp_path / "b", tmp_path / "d")
    assert load_text(config(tmp_path)) == load_text(config(tmp_path / "*")) == "a\nb\nc"


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are Unicode")
def test_a_name_that_is_not_utf_8_is_written_with_escapes_and_found_again(tmp_path: Path) -> None:
    name, run = os.fsdecode(b"caf\xe9.txt"), tmp_path / "run"
    (tmp_path / name).write_text("to be or not to be\n" * 40)
    done = call(*TINY, f"data.path={name}", "hydra.run.dir=run", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"from caf\xe9.txt" in done.stdout
    assert json.loads((run / "summary.json").read_text())["settings"]["data.path"] == r"caf\xe9.txt"
    assert r"path: caf\xe9.txt" in (run / ".hydra" / "config.yaml").read_text()
    assert load_checkpoint(run / "checkpoints" / LAST).run["config"]["data"]["path"] == r"caf\xe9.txt"
    (shown,) = EventAccumulator(str(run)).Reload().Tensors("config/text_summary")[0].tensor_proto.string_val
    assert rb'"path": "caf\\xe9.txt"' in shown
    assert call("resume=run", "training.steps=3", folder=tmp_path).returncode == 0
    (tmp_path / name).write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"caf\\xe9\.txt: expected utf8 text"):
        load_text(config(tmp_path / "*.txt"))
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=r"got '.*caf\\xe9\.txt'"):
        load_text(config(tmp_path / name))
