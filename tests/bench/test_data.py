import json
from pathlib import Path

import pytest

from bench.data import main
from bench.encoders import started, watched, write_text
from bench.stopwatch import RunFailedError

# What bench.encoders asks of a clone of nanoGPT, and no more.
PREPARE = """
import os
import requests
print("length of dataset")
with open(os.path.join(os.path.dirname(__file__), "input.txt")) as f:
    assert "requests" not in f.read(), requests
open(os.path.join(os.path.dirname(__file__), "train.bin"), "wb").close()
"""


@pytest.fixture
def nanogpt(tmp_path: Path) -> Path:
    """A folder that passes for a clone of nanoGPT."""
    folder = tmp_path / "nanoGPT"
    (folder / "data" / "shakespeare_char").mkdir(parents=True)
    (folder / "data" / "shakespeare_char" / "prepare.py").write_text(PREPARE, encoding="utf-8")
    return folder


def test_a_quick_run_writes_all_that_it_measured(
    tmp_path: Path, nanogpt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--quick", "--gigabytes", "0.01", "--nanogpt", str(nanogpt), "--output", str(tmp_path)])
    found = json.loads((tmp_path / "data_cpu.json").read_text(encoding="utf-8"))
    text = (tmp_path / "data_cpu.md").read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    assert found["trial"]
    assert "**A trial" in text
    assert found["failed"] == {}
    names = [(speed["name"], speed["kind"]) for speed in found["speeds"]]
    for kind in ("ASCII", "mixed"):
        assert {("charscope", kind), ("nanoGPT", kind)} <= set(names)
    for speed in found["speeds"]:
        assert ("nanoGPT" in speed["times_as_fast"]) == (speed["name"] == "charscope")
        assert len(speed["rounds"]) == found["rounds"] == 1
    large = found["large"]
    assert 0 < large["left"] <= large["kept"]
    assert large["kept"] >= 10**7
    assert 10**6 < large["whole"]["peak_anonymous"] < 5 * 10**8
    batching = found["batching"]
    assert set(batching["step_seconds"]) == set(batching["batch_seconds"]) == {*batching["times_as_fast"], "in memory"}
    assert not (nanogpt / "data" / "shakespeare_char" / "train.bin").exists()


def test_an_encoder_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(b"\xff")
    with pytest.raises(RunFailedError, match="expected UTF-8 text, got byte 0xff at offset 0"):
        watched(started("charscope", tmp_path / "text.txt", tmp_path / "cache", None))


def test_made_up_texts_are_of_their_kind_and_the_same_each_time(tmp_path: Path) -> None:
    for kind in ("ASCII", "mixed"):
        contents = []
        for _ in range(2):
            write_text(tmp_path / "text.txt", kind, 20_000)
            contents.append((tmp_path / "text.txt").read_text(encoding="utf-8"))
        assert contents[0] == contents[1]
        assert contents[0].isascii() == (kind == "ASCII")
        assert 20_000 <= len(contents[0].encode()) < 41_000
    assert all(character in contents[0] for character in "éя\U0001f600")
    assert any("\u4e00" <= character <= "\u9fff" for character in contents[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nanogpt", "no/such/folder"], "--nanogpt: expected a clone of nanoGPT, got no/such/folder"),
        (["--gigabytes", "0"], "--gigabytes: expected a number above 0, got 0.0"),
    ],
)
def test_a_mistake_is_said_in_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
