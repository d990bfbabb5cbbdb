"""What `sample.py` can be asked beyond a text, through the command itself."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.commands.helpers import ROOT, run


def text(home: Path, *arguments: str) -> str:
    done = run("sample", "length=60", *arguments, folder=home)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_stop_ends_the_text_and_is_left_out(home: Path) -> None:
    whole = text(home)
    stop = whole[20:23]
    assert text(home, f"stop={stop}") == whole[: whole.index(stop)] + "\n"
    other = whole[10:12]
    first = min(whole.index(stop), whole.index(other))
    assert text(home, f"stop={json.dumps([stop, other])}") == whole[:first] + "\n"


@pytest.mark.parametrize("narrowest", ["top_k=1", "top_p=1e-9", "min_p=1", "temperature=0"])
def test_the_narrowest_filters_are_greedy_whatever_the_seed(home: Path, narrowest: str) -> None:
    assert text(home, narrowest) == text(home, "temperature=0", "seed=5")


def test_wide_filters_change_nothing(home: Path) -> None:
    assert text(home, "top_p=1", "min_p=1e-12", "top_k=999") == text(home)


@pytest.mark.parametrize(("unknown", "shown"), [("skip", "ab"), ("replace", "a?b")])
def test_characters_that_were_never_seen_can_be_left_out_or_replaced(home: Path, unknown: str, shown: str) -> None:
    done = run("sample", "prompt=a☃b", f"unknown={unknown}", "length=5", folder=home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(shown)
    assert len(done.stdout) == len(shown) + 5 + 1
    assert "prompt: 1 of 3 characters were not in the vocabulary and were" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["count=3"], ["prompt=def "]], ids=["one", "several", "prompt"])
def test_a_text_file_holds_what_the_screen_would_show(home: Path, tmp_path: Path, arguments: list[str]) -> None:
    assert text(home, *arguments, f"output={tmp_path}/text.txt") == ""
    assert (tmp_path / "text.txt").read_text(encoding="utf-8") == text(home, *arguments)


def test_json_lines_agree_with_the_score_of_their_text(home: Path, tmp_path: Path) -> None:
    assert text(home, "count=2", "seed=4", f"output={tmp_path}/samples.jsonl") == ""
    records = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["seed"] for record in records] == [4, 5]
    for record in records:
        (tmp_path / "sample.txt").write_text(record["text"], encoding="utf-8", newline="\n")
        arguments = [f"prompt_file={tmp_path}/sample.txt", "score=true", f"output={tmp_path}/score.jsonl"]
        done = run("sample", *arguments, folder=home)
        assert done.returncode == 0, done.stderr
        score = json.loads((tmp_path / "score.jsonl").read_text(encoding="utf-8"))
        assert score["text"] == record["text"]
        assert score["log_probabilities"] == pytest.approx(record["log_probabilities"], abs=1e-4)
        bits = -sum(score["log_probabilities"]) / math.log(2) / 60
        assert score["bits_per_character"] == pytest.approx(bits, abs=1e-4)


def test_a_score_names_the_most_surprising_places(home: Path) -> None:
    done = run("sample", "prompt=    return self.§", "unknown=replace", "score=true", folder=home)
    assert done.returncode == 0, done.stderr
    first, title, *places = done.stdout.splitlines()
    assert first.endswith(" nats/char), 17 characters")
    assert title == "most surprising:"
    assert any(place.endswith("line 1, column 17:     return self.»?«") for place in places)


def test_attention_to_a_users_own_text_goes_to_the_runs_folder(tmp_path: Path, trained: Path) -> None:
    copy = shutil.copytree(trained, tmp_path / "run")
    done = run("sample", "checkpoint=run", "prompt=def ", "length=60", "inspect=true", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (copy / "samples").iterdir()
    assert [file.name.partition(".v2")[0].split(".")[0] for file in folder.iterdir()] == ["events"]
    assert f"attention maps: {folder.relative_to(tmp_path)}; to see them: tensorboard" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("which", ["best", "last"])
def test_checkpoints_of_the_newest_run_have_names(home: Path, trained: Path, which: str) -> None:
    named = run("sample", f"checkpoint={which}", "length=20", folder=home)
    file = run("sample", f"checkpoint={trained}/checkpoints/{which}.pt", "length=20", folder=home)
    assert named.returncode == 0, named.stderr
    assert named.stdout == file.stdout
    assert f"{which}.pt, trained for" in named.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process there")
@pytest.mark.parametrize(("length", "code"), [("null", 0), ("100000000", 130)], ids=["endless", "long"])
def test_ctrl_c_ends_the_text_with_all_that_was_written(home: Path, tmp_path: Path, length: str, code: int) -> None:
    file = tmp_path / "text.txt"
    command = [sys.executable, str(ROOT / "sample.py"), f"length={length}", f"output={file}"]
    with subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (file.exists() and file.stat().st_size > 200) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()  # or an endless one would keep this test
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    written = file.read_text(encoding="utf-8")
    assert len(written) > 200
    assert written.endswith("\n")
    assert written.startswith(text(home).rstrip("\n"))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_bar_shows_progress_while_a_file_is_written(home: Path, tmp_path: Path) -> None:
    import pty  # Windows has none of the two
    import termios

    terminal, its_end = pty.openpty()
    termios.tcsetwinsize(its_end, (24, 80))  # a bar needs room
    command = [sys.executable, str(ROOT / "sample.py"), "length=40", "count=2", f"output={tmp_path}/text.txt"]
    subprocess.run(command, cwd=home, stderr=its_end, check=True, timeout=60)
    os.close(its_end)
    shown = b""
    with suppress(OSError):  # the end of a terminal
        while piece := os.read(terminal, 2**16):
            shown += piece
    os.close(terminal)
    assert "80/80" in shown.decode()


def test_a_text_can_be_scored_and_inspected_at_once(tmp_path: Path, trained: Path) -> None:
    copy = shutil.copytree(trained, tmp_path / "run")
    done = run("sample", "checkpoint=run", "prompt=return self", "score=true", "inspect=true", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert " bits/char" in done.stdout
    assert len([*(copy / "samples").iterdir()]) == 1


def test_endless_samples_must_all_fit_side_by_side(home: Path) -> None:
    done = run("sample", "length=null", "count=1000000", folder=home)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match(r"sample.py: count: expected at most \d+ with length=null, .*, got 1000000\n", done.stderr)
