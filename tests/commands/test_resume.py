"""Runs that are interrupted, gone on with, and begun with the weights of others, as a user does it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands.helpers import ROOT, SHORT, TEXT, run
from training.checkpoint import load_checkpoint

TIMES = ("seconds", "characters_per_second", "date")
LONG = [*SHORT, "training.steps=100000", "training.evaluate_every=50000", "training.checkpoint_every=50"]


def started(*arguments: str, folder: Path) -> "subprocess.Popen[str]":
    """`train.py`, when it has saved a checkpoint. In a session of its own, as Ctrl-C goes to all of one."""
    since = time.time()
    command = [sys.executable, "-W", "error", str(ROOT / "train.py"), *arguments]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not any(file.stat().st_mtime > since for file in folder.glob("**/checkpoints/last.safetensors")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def ended(process: "subprocess.Popen[str]", by: signal.Signals) -> tuple[int, str, str]:
    """Exit code and what was said, after a signal that leaves time to save."""
    process.send_signal(by)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_sigterm_ends_a_run_as_well(tmp_path: Path) -> None:
    code, out, _ = ended(started(*LONG, folder=tmp_path), signal.SIGTERM)
    assert (code, "interrupted by SIGTERM, and saved" in out) == (143, True)


def test_an_interrupted_run_saves_says_how_to_go_on_and_comes_to_the_same(tmp_path: Path, trained: Path) -> None:
    folder = tmp_path / "run"
    # Slowed down by looking at each step, which changes nothing, so that there is time to interrupt it.
    process = started(*SHORT, "board.attention_every=1", f"hydra.run.dir={folder}", folder=tmp_path)
    code, out, err = ended(process, signal.SIGINT)
    assert code == 130, err
    assert err == "\nSIGINT: finishing this step, then saving; once more to stop at once\n"
    hint = out.splitlines()[-1]
    assert hint.startswith("interrupted by SIGINT, and saved; to go on:  ")
    assert hint.endswith(" train.py resume=run")
    assert 0 < load_checkpoint(folder / "checkpoints" / "last.safetensors").step < 60
    done = run("train", "resume=run", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    whole, parted = (json.loads((each / "summary.json").read_text()) for each in (trained, folder))
    assert "board.attention_every" in parted["settings"]
    for summary in (whole, parted):
        for name in (*TIMES, "settings"):
            del summary[name]
    assert whole == parted


def test_what_conflicts_is_listed_all_at_once(home: Path, trained: Path) -> None:
    asked = [
        "model.heads=2",
        "seed=4",
        "training.steps=10",
        "experiment=shakespeare_cpu",
        "data.unit=line",
        "name=laptop",
    ]
    done = run("train", f"resume={trained}", *asked, folder=home)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "train.py: resume: expected what the run was started with, got model.heads=2 (was 4), seed=4 (was 0), "
        "training.steps=10 (was 60, may only grow), experiment=shakespeare_cpu (was laptop), "
        "data.unit=line (was window)\n"
    )


def test_auto_starts_goes_on_with_more_steps_and_has_an_end(tmp_path: Path) -> None:
    again = [*SHORT, "resume=auto", "name=again", "board.sample_length=0"]
    for steps, word in ((30, "folder"), (40, "resumed  at step 30 of 40"), (40, "finished: runs/again/")):
        done = run("train", *again, f"training.steps={steps}", folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert word in done.stdout
    (summary,) = tmp_path.glob("runs/again/*/summary.json")
    assert json.loads(summary.read_text())["settings"]["training.steps"] == 40


def test_another_text_is_refused_and_the_same_elsewhere_is_not(tmp_path: Path, trained: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    (tmp_path / "moved").mkdir()
    for file in Path(TEXT).parent.glob("*.py"):
        shutil.copy(file, tmp_path / "moved")
    (tmp_path / "other.txt").write_text("to be, or not to be? " * 100)
    more = [f"resume={folder}", "training.steps=61"]
    done = run("train", *more, "data.path=other.txt", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "train.py: resume: expected the text that the run was started with, got another\n"
    done = run("train", *more, "data.path=moved/*.py", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_second_process_refuses_the_folder_of_the_first_until_it_is_dead(tmp_path: Path) -> None:
    first = started(*LONG, "hydra.run.dir=run", folder=tmp_path)
    for resume in ([], ["resume=auto"], ["resume=run"]):
        where = [] if resume == ["resume=run"] else ["hydra.run.dir=run"]
        second = run("train", *resume, *where, folder=tmp_path)
        assert second.returncode == 2
        assert "expected a folder that no other process trains in, got" in second.stderr
        assert second.stderr.count("\n") == 1
    os.kill(first.pid, signal.SIGKILL)  # its lock file stays, and locks no more
    first.communicate()
    assert ended(started(*LONG, "hydra.run.dir=run", "resume=auto", folder=tmp_path), signal.SIGINT)[0] == 130


def test_a_run_begins_with_the_weights_of_another_and_says_what_became_of_characters(
    tmp_path: Path, trained: Path
) -> None:
    (tmp_path / "new.txt").write_text("def être(self): return 'ß'\n" * 50)
    new = ["data.path=new.txt", "training.steps=2", "runtime.device=cpu", f"init_from={trained}", "name=new"]
    done = run("train", *new, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "characters mapped, 2 ('ßê') added, " in done.stdout
    assert f"parameters\n         begun with {trained}: " in done.stdout
    (file,) = tmp_path.glob("runs/new/*/checkpoints/last.safetensors")
    assert load_checkpoint(file).model == load_checkpoint(trained / "checkpoints" / "best.safetensors").model
    done = run("train", *new, "model.layers=3", "model.dropout=0.5", "model.position=none", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "train.py: init_from: expected the shape of its weights, got model.layers=3 (is 2), "
        "model.position=none (is rotary)\n"
    )


REFUSED = {
    "no such run": (
        ["resume=nowhere"],
        "resume: expected auto or a run's folder, which holds checkpoints/last.safetensors, got nowh",
    ),
    "a sweep": (["-m", "resume=auto", "seed=1,2"], "resume: expected one run, got a sweep with resume=auto"),
    "two folders": (
        ["resume=run", "hydra.run.dir=x"],
        "resume: expected a run's folder there or in hydra.run.dir, got both",
    ),
    "no folder": (["hydra.run.dir=file/run"], "expected files that can be read and written, got: Not a directory"),
    "too large": (
        ["model.width=1000000", "model.layers=100"],
        "model: expected one that fits in the .* GiB of cpu, got 1,2",
    ),
    "no checkpoint": (["init_from=nowhere"], "checkpoint: expected a checkpoint, a run's folder, best or last"),
    "cadence": (
        ["training.checkpoint_every=often"],
        "training.checkpoint_every: expected a number of steps, or of min",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(tmp_path: Path, case: str) -> None:
    arguments, line = REFUSED[case]
    (tmp_path / "file").touch()
    (tmp_path / "text").write_text("to be, or not to be? " * 100)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "last.safetensors").touch()
    before = set(tmp_path.rglob("*"))
    done = run("train", "data.path=text", "runtime.device=cpu", *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert (done.stderr.count("\n"), done.stdout.count("folder ")) == (1, 0), done.stderr
    assert re.match(f"train.py: {line}", done.stderr), done.stderr
    assert set(tmp_path.rglob("*")) == before
