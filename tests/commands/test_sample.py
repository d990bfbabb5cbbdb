import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.helpers import ROOT, run


def test_sampling_takes_the_newest_run_and_repeats_itself(home: Path) -> None:
    first, again = (run("sample", "length=100", folder=home) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    assert len(first.stdout) == 100 + 1
    assert run("sample", "length=100", "seed=1", folder=home).stdout != first.stdout


def test_every_way_to_give_a_prompt_gives_the_same_text(home: Path, trained: Path) -> None:
    prompt = "def dumps(obj, *, skipkeys=False):\n    return 'it\\'s'"
    (home / "prompt.txt").write_text(prompt)
    named = run("sample", f"prompt={prompt}", "length=20", f"checkpoint={trained}", folder=home)
    assert named.returncode == 0, named.stderr
    assert named.stdout.startswith(prompt)
    assert len(named.stdout) == len(prompt) + 20 + 1
    filed = run("sample", "prompt_file=prompt.txt", "length=20", folder=home)
    piped = run("sample", "prompt_file=-", "length=20", folder=home, stdin=prompt)
    assert named.stdout == filed.stdout == piped.stdout


def test_several_samples_are_told_apart(home: Path) -> None:
    done = run("sample", "count=3", "length=10", "prompt=def ", "top_k=5", "temperature=0.5", folder=home)
    assert done.returncode == 0, done.stderr
    parts = [part.split(" ---\n") for part in done.stdout.split("--- ")[1:]]
    assert [title for title, _ in parts] == ["1 of 3", "2 of 3", "3 of 3"]
    assert all(text.startswith("def ") and len(text) == 4 + 10 + 1 for _, text in parts)


def test_sampling_leaves_nothing_behind(home: Path) -> None:
    before = sorted(home.rglob("*"))
    assert run("sample", "length=5", folder=home).returncode == 0
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize("arguments", ["length=300 count=2", "length=null"])
@pytest.mark.parametrize("taken", [0, 100])
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
    "no checkpoint": (
        ["checkpoint=missing.pt"],
        "expected a checkpoint, a run's folder, best or last, got 'missing.pt'",
    ),
    "not a checkpoint": (["checkpoint=binary"], "this program's in binary, got: a file of another kind"),
    "unknown key": (["promt=a"], "promt: there is no such name; did you mean prompt"),
    "values": (["length=0", "count=0", "temperature=-1", "top_k=0"], "length.*count.*top_k.*temperature"),
    "shares": (["top_p=0", "min_p=1.5"], "top_p: expected more than 0 and at most 1, got 0.0; min_p: .* got 1.5"),
    "stop": (["stop="], "stop: expected texts of at least one character, got an empty one"),
    "unknown": (["unknown=guess"], "unknown: .*guess.*error, skip, replace"),
    "output's kind": (["output=text.md"], r"output: expected a file name that ends in \.txt or \.jsonl, got 'text.md'"),
    "overwriting": (["prompt_file=a.txt", "output=a.txt"], "output: expected another file than prompt_file"),
    "nothing to score": (["score=true"], "score: expected a text in prompt or prompt_file, got none"),
    "precision": (["runtime.precision=fp16"], "runtime.precision: expected auto, fp32 or bf16, got fp16"),
    "two prompts": (["prompt=a", "prompt_file=b"], "prompt, prompt_file: expected one of them, got both"),
    "no prompt file": (["prompt_file=missing.txt"], "prompt_file: expected UTF-8 text in missing.txt"),
    "binary prompt file": (["prompt_file=latin"], "prompt_file: expected UTF-8 text in latin.* 0xe9"),
    "sweep": (["-m", "seed=1,2"], "expected one set of values, got a sweep"),
    "another command's": (["model.heads=2"], "model: there is no such name; did you mean checkpoint, "),
    "empty prompt": (["prompt_file=-"], "prompt_file: expected at least one character in -, got none"),
}


@pytest.mark.parametrize(("arguments", "message"), SAMPLING_MISTAKES.values(), ids=SAMPLING_MISTAKES)
def test_a_mistake_in_sampling_is_one_line_and_leaves_nothing(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "binary").write_bytes(b"\0\1")
    (tmp_path / "latin").write_bytes(b"\xe9")
    done = run("sample", *arguments, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert re.search(f"^sample.py: .*{message}", done.stderr), done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["binary", "latin"]


def test_a_prompt_beyond_the_vocabulary_is_named(home: Path) -> None:
    done = run("sample", "prompt=a☃", folder=home)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"sample\.py: prompt: expected characters .*\(U\+2603\) at position 1; it holds .*\n", done.stderr
    )


BEYOND = {
    "prompt": ["prompt=a☃"],
    "stop": ["stop=☃"],
    "scored": ["prompt=a☃", "score=true"],
    "nothing left": ["prompt=☃", "unknown=skip"],
    "no folder": ["output=missing/text.txt"],
    "no home": ["output=~nobody-of-this-name/text.txt"],
}


@pytest.mark.parametrize("arguments", BEYOND.values(), ids=BEYOND)
def test_what_a_checkpoint_has_no_place_for_is_one_line(home: Path, arguments: list[str]) -> None:
    before = sorted(home.rglob("*"))
    done = run("sample", *arguments, folder=home)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"sample\.py: (prompt|stop|output): expected .*\n", done.stderr)
    assert sorted(home.rglob("*")) == before
