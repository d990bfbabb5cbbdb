import json
import re
import shlex
import signal
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

import train
from conf.schema import TrainConfig
from model.config import PositionKind, ScoringKind
from tests.commands.helpers import TINY, call, hparams_row
from tests.training.helpers import before_steps
from training.run import Job

KINDS: dict[str, list[str]] = {"scoring": [*ScoringKind], "position": [*PositionKind]}
SHORT = [*TINY, "training.steps=1"]


def test_a_sweep_makes_a_run_of_each_and_goes_on_past_a_job_that_fails(tmp_path: Path) -> None:
    # The second job's probe is found to be unknown only when the text has been read.
    arguments = ["-m", "model.heads=1,2", "board.probe=['def'],['☃']", "name=heads", *SHORT]
    done = call(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"train\.py: jobs 1, 3: board\.probe: expected .*U\+2603.*\n", done.stderr), done.stderr
    (folder,) = tmp_path.glob("runs/heads/*")
    assert {file.name for file in folder.iterdir()} == {"0", "2", "comparison.json", "comparison.md", "multirun.yaml"}
    for number, heads in ((0, 1), (2, 2)):
        settings = hparams_row(folder / str(number))
        assert settings["model.heads"].number_value == heads
        assert settings["experiment"].string_value == "laptop"
        assert f"heads: {heads}\n" in (folder / str(number) / ".hydra" / "config.yaml").read_text()


@pytest.mark.slow
def test_every_scoring_trains_with_every_position(tmp_path: Path) -> None:
    scorings, positions = (f"model.{name}={','.join(kinds)}" for name, kinds in KINDS.items())
    done = call("-m", scorings, positions, *SHORT, "name=pairs", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob("runs/pairs/*")
    trained = [json.loads(file.read_text())["settings"] for file in folder.glob("*/summary.json")]
    assert {tuple(settings[f"model.{name}"] for name in KINDS) for settings in trained} == set(product(*KINDS.values()))
    assert len(trained) == 20


@pytest.mark.parametrize("flag", [[], ["-m"]])
def test_a_preset_can_be_a_sweep_by_itself_and_ends_in_a_table(tmp_path: Path, flag: list[str]) -> None:
    done = call(*flag, "experiment=scoring_study", "model.scoring=dot,mean", "seed=0,1", *SHORT, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob("runs/scoring_study/*")
    settings = [json.loads((folder / str(job) / "summary.json").read_text())["settings"] for job in range(4)]
    # Seeds first: each round tries everything in turn.
    assert [(each["seed"], each["model.scoring"]) for each in settings] == [
        *((0, "dot"), (0, "mean"), (1, "dot"), (1, "mean"))
    ]
    written = (folder / "comparison.md").read_text()
    assert written in done.stdout
    heads, _, *rows = (line.strip("| ").split("|") for line in written.splitlines())
    assert [head.strip() for head in heads[:2]] == ["model.scoring", "runs"]
    assert sorted((row[0].strip(), row[1].strip()) for row in rows) == [("dot", "2"), ("mean", "2")]
    assert len(json.loads((folder / "comparison.json").read_text())) == 2


def test_a_preset_that_is_a_sweep_can_be_read(tmp_path: Path) -> None:
    done = call("experiment=scoring_study", "--cfg", "job", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "name: scoring_study" in done.stdout


def test_lists_are_told_apart_in_the_table(tmp_path: Path) -> None:
    done = call("-m", "model.attention=[single],[multi]", "name=kinds", *SHORT, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| single +\| 1 ", done.stdout, re.M)
    assert re.search(r"^\| multi +\| 1 ", done.stdout, re.M)


def test_jobs_are_found_at_any_depth_and_a_comma_that_split_a_path_is_pointed_out(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "é.txt").write_text("to be, or not to be? " * 50, encoding="utf-8")
    depth = "hydra.sweep.subdir=${hydra.job.override_dirname}"
    done = call("-m", *SHORT, "data.path=a/é.txt,b/é.txt,c/é.txt", "name=deep", depth, folder=tmp_path)
    assert done.returncode == 2
    assert re.match(r"train\.py: job .*data\.path=.*c/é\.txt.*: data\.path: expected ", done.stderr), done.stderr
    assert done.stderr.endswith("; to have it taken as one text: 'data.path=\"a/é.txt,b/é.txt,c/é.txt\"'\n")
    (folder,) = tmp_path.glob("runs/deep/*")
    assert all(f"| {name}/é.txt " in (folder / "comparison.md").read_text(encoding="utf-8") for name in ("a", "b"))
    assert len(list(folder.rglob("summary.json"))) == 2
    assert not [file for file in folder.rglob("*") if "c/" in str(file) or file.suffix == ".failed"]


def test_a_sweep_that_was_stopped_goes_on_by_the_command_that_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned: list[float | None] = []
    command = train.main

    def main(config: TrainConfig, job: Job) -> float | None:
        returned.append(command.main(config, job))
        return returned[-1]

    arguments = ["-m", *SHORT, "training.steps=3", "seed=0,1,2", "name=torn", "board.probe=['it, is']"]
    with monkeypatch.context() as patched:
        before_steps(patched, {4}, lambda: signal.raise_signal(signal.SIGINT))  # in the second job
        done = call(*arguments, folder=tmp_path)
    assert done.returncode == 130
    (command_line,) = re.findall(r"^to go on with the sweep:  .* (-m .*)", done.stdout, re.M)
    with monkeypatch.context() as patched:
        patched.setattr(train, "main", replace(command, main=main))
        done = call(*shlex.split(command_line), folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (folder,) = tmp_path.glob("runs/torn/*")
    assert re.findall(r"^(?:finished: .*|resumed  .*|folder   .*)", done.stdout, re.M) == [
        f"finished: {folder.relative_to(tmp_path)}/0, at step 3; a larger training.steps would go on",
        *(f"folder   {folder}/1", "resumed  at step 1 of 3", f"folder   {folder}/2"),
    ]
    losses = [json.loads((folder / job / "summary.json").read_text())["best_validation_loss"] for job in "012"]
    assert returned == losses
    assert sorted(json.loads((folder / "comparison.json").read_text())[0]["losses"]) == sorted(losses)
