import json
import math
import re
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.commands.helpers import ROOT, run, sample
from tests.process import Process


def text(home: Path, *arguments: str) -> str:
    done = sample("length=60", *arguments, folder=home)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sampling_takes_the_newest_run_repeats_itself_and_leaves_nothing_behind(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorboard.py").write_text("raise ImportError('TensorBoard is slow, and only training needs it')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before = sorted(home.rglob("*"))
    done = run("sample", "length=60", folder=home)  # in a process of its own, as a user does
    assert done.returncode == 0, done.stderr
    assert done.stdout == text(home)
    assert len(done.stdout) == 60 + 1
    assert text(home, "seed=1") != done.stdout
    assert sorted(home.rglob("*")) == before


def test_every_way_to_give_a_prompt_gives_the_same_text(home: Path, trained: Path) -> None:
    prompt = "def dumps(obj, *, skipkeys=False):\n    return 'it\\'s'"
    (home / "prompt.txt").write_text(prompt)
    typed = sample(f"prompt={prompt}", "length=20", f"checkpoint={trained}", folder=home)
    assert typed.returncode == 0, typed.stderr
    assert typed.stdout.startswith(prompt)
    assert len(typed.stdout) == len(prompt) + 20 + 1
    from_file = sample("prompt_file=prompt.txt", "length=20", folder=home)
    from_pipe = sample("prompt_file=-", "length=20", folder=home, stdin=prompt)
    assert typed.stdout == from_file.stdout == from_pipe.stdout


@pytest.mark.parametrize(
    ("arguments", "taken"), [("length=300 count=2", 100), pytest.param("length=null", 0, marks=pytest.mark.slow)]
)
def test_a_reader_that_leaves_early_is_no_error(home: Path, arguments: str, taken: int) -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{sys.executable}' '{ROOT}/sample.py' {arguments} | head -c {taken}"],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1), done.stderr
    assert len(done.stdout) == taken


SAMPLING_MISTAKES = {
    "no run": (["checkpoint=null"], "expected a trained run below runs/, got none; first run: python train.py"),
    "no checkpoint": (["checkpoint=missing"], "expected a checkpoint, a run's folder, best or last, got 'missing'"),
    "not a checkpoint": (["checkpoint=binary"], "checkpoint: .*binary"),
    "unknown key": (["promt=a"], "promt: there is no such name; did you mean prompt"),
    "values": (["length=0", "count=0", "temperature=-1", "top_k=0"], "length.*count.*top_k.*temperature"),
    "fractions": (["top_p=0", "min_p=1.5"], "top_p: expected more than 0 and at most 1, got 0.0; min_p: .* got 1.5"),
    "stop": (["stop="], "stop: expected texts of at least one character, got an empty one"),
    "unknown": (["unknown=guess"], "unknown: .*guess.*error, skip, replace"),
    "suffix": (["output=text.md"], r"output: expected a file name that ends in \.txt or \.jsonl, got 'text.md'"),
    "overwriting": (["prompt_file=a.txt", "output=a.txt"], "output: expected another file than prompt_file"),
    "stride without score": (["stride=4"], "stride: expected score=true with it, got stride=4 alone"),
    "nothing to score": (["score=true"], "score: expected a text in prompt or prompt_file, got none"),
    "precision": (["runtime.precision=fp16"], "runtime.precision: expected auto, fp32 or bf16, got fp16"),
    "two prompts": (["prompt=a", "prompt_file=b"], "prompt, prompt_file: expected one of them, got both"),
    "no prompt file": (["prompt_file=missing.txt"], "prompt_file: cannot read missing.txt"),
    "sweep": (["-m", "seed=1,2"], "expected one set of values, got a sweep"),
    "another command's": (["model.heads=2"], "model: there is no such name; all names: python sample.py --cfg job"),
}


@pytest.mark.parametrize(("arguments", "message"), SAMPLING_MISTAKES.values(), ids=SAMPLING_MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "binary").write_bytes(b"\0\1")
    done = sample(*arguments, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert re.search(f"^sample.py: .*{message}", done.stderr), done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["binary"]


MISFITS = {
    "prompt": (["prompt=a☃"], r"prompt: expected characters .*\(U\+2603\) at column 2; it holds .*"),
    "stop": (["stop=☃"], "stop: expected .*"),
    "binary prompt file": (
        ["prompt_file=latin"],
        "prompt_file: expected UTF-8 text in latin, got byte 0xe9 at offset 2, the beginning of a character, .*",
    ),
    "scored": (["prompt=a☃", "score=true"], "prompt: expected .*"),
    "stride": (["prompt=a", "score=true", "stride=33"], "stride: expected at most the context of 32, got 33"),
    "nothing left": (["prompt=☃", "unknown=skip"], "prompt: expected .*"),
    "empty prompt": (["prompt_file=-"], "prompt: expected at least one character of .*, got none"),
    "only a mark": (["prompt_file=mark", "score=true"], "prompt: expected at least one character of .*, got none"),
    "endless": (["length=null", "count=1000000"], r"count: expected at most \d+ with length=null, .*, got 1000000"),
}


@pytest.mark.parametrize(("arguments", "message"), MISFITS.values(), ids=MISFITS)
def test_what_does_not_fit_the_checkpoint_is_one_line(home: Path, arguments: list[str], message: str) -> None:
    (home / "latin").write_bytes(b"a \xe9")
    (home / "mark").write_bytes(b"\xef\xbb\xbf")
    done = sample(*arguments, folder=home)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"sample\.py: {message}\n", done.stderr)


def test_a_stop_ends_the_text_and_is_left_out(home: Path) -> None:
    whole = text(home)
    stop, other = whole[20:23], whole[10:12]
    assert text(home, f"stop={stop}") == whole[: whole.index(stop)] + "\n"
    first = min(whole.index(stop), whole.index(other))
    assert text(home, f"stop={json.dumps([stop, other])}") == whole[:first] + "\n"


def test_the_narrowest_filters_are_greedy_whatever_the_seed_and_the_widest_change_nothing(home: Path) -> None:
    greedy = text(home, "temperature=0", "seed=5")
    assert all(text(home, narrow) == greedy for narrow in ("top_k=1", "top_p=1e-9", "min_p=1", "temperature=0"))
    assert text(home, "top_p=1", "min_p=1e-12", "top_k=999") == text(home)


@pytest.mark.parametrize(("unknown", "shown"), [("skip", "ab"), ("replace", "a?b")])
def test_unknown_characters_can_be_left_out_or_replaced(home: Path, unknown: str, shown: str) -> None:
    done = sample("prompt=a☃b", f"unknown={unknown}", "length=5", folder=home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(shown)
    assert len(done.stdout) == len(shown) + 5 + 1
    assert "prompt: 1 of 3 characters were not in the vocabulary and were" in done.stderr


def test_json_lines_agree_with_the_score_of_their_text(home: Path, tmp_path: Path) -> None:
    assert text(home, "count=2", "seed=4", f"output={tmp_path}/samples.jsonl") == ""
    records = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["seed"] for record in records] == [4, 5]
    for record in records:
        (tmp_path / "sample.txt").write_text(record["text"], encoding="utf-8", newline="\n")
        text(home, f"prompt_file={tmp_path}/sample.txt", "score=true", f"output={tmp_path}/score.jsonl")
        score = json.loads((tmp_path / "score.jsonl").read_text(encoding="utf-8"))
        assert score["text"] == record["text"]
        assert score["log_probabilities"] == pytest.approx(record["log_probabilities"], abs=1e-4)
        bits = -sum(score["log_probabilities"]) / math.log(2) / 60
        assert score["bits_per_character"] == pytest.approx(bits, abs=1e-4)


@pytest.mark.parametrize("score", ["score=false", "score=true"])
def test_attention_to_a_users_own_text_goes_to_the_runs_folder(tmp_path: Path, trained: Path, score: str) -> None:
    copy = shutil.copytree(trained, tmp_path / "run")
    done = sample("checkpoint=run", "prompt=def ", "length=60", score, "inspect=true", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (" bits/char" in done.stdout) == ("most surprising:" in done.stdout) == (score == "score=true")
    (folder,) = (copy / "samples").iterdir()
    assert [file.name.partition(".v2")[0].split(".")[0] for file in folder.iterdir()] == ["events"]
    assert f"attention maps: {folder.relative_to(tmp_path)}; to see them: tensorboard" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("which", ["best", "last"])
def test_checkpoints_of_the_newest_run_have_names(home: Path, trained: Path, which: str) -> None:
    (file,) = (trained / "checkpoints").glob(f"{which}.*")
    named = sample(f"checkpoint={which}", "length=20", folder=home)
    assert named.returncode == 0, named.stderr
    assert named.stdout == sample(f"checkpoint={file}", "length=20", folder=home).stdout
    assert f"{file.name}, trained for" in named.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process there")
@pytest.mark.parametrize(
    ("length", "code"), [("null", 0), pytest.param("100000000", 130, marks=pytest.mark.slow)], ids=["endless", "long"]
)
def test_ctrl_c_ends_the_text_with_all_that_was_written(home: Path, tmp_path: Path, length: str, code: int) -> None:
    file = tmp_path / "text.txt"
    with closing(Process([str(ROOT / "sample.py"), f"length={length}", f"output={file}"], home)) as process:
        process.until(lambda: file.exists() and file.stat().st_size > 200)
        process.popen.send_signal(signal.SIGINT)
        process.assert_ends(code)
    written = file.read_text(encoding="utf-8")
    assert len(written) > 200
    assert written.endswith("\n")
    assert written.startswith(text(home).rstrip("\n"))
