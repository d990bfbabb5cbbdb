import json
import re
from itertools import product
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from model.config import PositionKind, ScoringKind
from tests.commands.helpers import SMALL, TEXT, run

KINDS: dict[str, list[str]] = {"scoring": [*ScoringKind], "position": [*PositionKind]}
SHORTEST = ["runtime.device=cpu", "model.layers=1", "model.width=8", "training.steps=2", f"data.path={TEXT}"]


def test_a_sweep_makes_a_run_of_each_and_compares_them(tmp_path: Path) -> None:
    done = run("train", "-m", "model.heads=1,2", "name=heads", *SMALL, "training.steps=2", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = sorted(file.parent for file in tmp_path.glob("runs/heads/*/*/summary.json"))
    assert [run.name for run in runs] == ["0", "1"]
    for number, directory in enumerate(runs):
        event = EventAccumulator(str(directory)).Reload()
        content = event.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        settings = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
        assert settings["model.heads"].number_value == number + 1
        assert settings["experiment"].string_value == "laptop"
        assert f"heads: {number + 1}\n" in (directory / ".hydra" / "config.yaml").read_text()


def test_a_sweep_goes_on_past_a_job_that_fails(tmp_path: Path) -> None:
    # The second job's probe is found to be unknown only when the text has been read.
    arguments = ["-m", "board.probe=['def'],['☃']", "name=probes", *SMALL, "training.steps=2"]
    done = run("train", *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"train\.py: job 1: board\.probe: expected .*U\+2603.*\n", done.stderr), done.stderr
    assert [file.parent.name for file in tmp_path.glob("runs/probes/*/*/summary.json")] == ["0"]
    assert not list(tmp_path.glob("runs/probes/*/1"))


def test_every_scoring_trains_with_every_position(tmp_path: Path) -> None:
    scorings, positions = (f"model.{name}={','.join(kinds)}" for name, kinds in KINDS.items())
    quick = ["model.context=16", "board.sample_length=0", "name=pairs"]
    done = run("train", "-m", scorings, positions, *SHORTEST, *quick, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob("runs/pairs/*")
    trained = [json.loads(file.read_text())["settings"] for file in folder.glob("*/summary.json")]
    assert {tuple(settings[f"model.{name}"] for name in KINDS) for settings in trained} == set(product(*KINDS.values()))
    assert len(trained) == 20


def test_a_preset_can_be_a_sweep_and_ends_in_a_table(tmp_path: Path) -> None:
    done = run("train", "experiment=scoring_study", "model.scoring=dot,mean", *SHORTEST, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob("runs/scoring_study/*")
    assert len(list(folder.glob("*/summary.json"))) == 2 * 3
    written = (folder / "comparison.md").read_text()
    assert written in done.stdout
    heads, _, *rows = (line.strip("| ").split("|") for line in written.splitlines())
    assert [head.strip() for head in heads[:2]] == ["model.scoring", "runs"]
    assert sorted((row[0].strip(), row[1].strip()) for row in rows) == [("dot", "3"), ("mean", "3")]
    assert len(json.loads((folder / "comparison.json").read_text())) == 2


def test_a_mistake_in_a_preset_that_is_a_sweep_is_told_before_it_starts(tmp_path: Path) -> None:
    done = run("train", "experiment=position_study", "model.heads=3", *SHORTEST, folder=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"train\.py: model\.heads: expected a divisor of model\.width=8, got 3: .*\n", done.stderr)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["experiment=scoring_study", "-m"], ["-m", "experiment=scoring_study"]])
def test_a_preset_that_is_a_sweep_may_be_called_one(tmp_path: Path, arguments: list[str]) -> None:
    done = run("train", *arguments, "model.scoring=mean", "seed=0", *SHORTEST, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("runs/scoring_study/*/*/summary.json"))) == 1


def test_a_preset_that_is_a_sweep_can_be_read(tmp_path: Path) -> None:
    done = run("train", "experiment=scoring_study", "--cfg", "job", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "name: scoring_study" in done.stdout


def test_a_preset_that_is_a_sweep_stands_alone(tmp_path: Path) -> None:
    done = run("train", "-m", "experiment=laptop,scoring_study", *SHORTEST, folder=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"train\.py: experiment: expected one where it is a sweep by itself, got .*\n", done.stderr)


def test_lists_are_told_apart_in_the_table(tmp_path: Path) -> None:
    done = run("train", "-m", "model.attention=[single],[multi]", "name=kinds", *SHORTEST, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| single +\| 1 ", done.stdout, re.M)
    assert re.search(r"^\| multi +\| 1 ", done.stdout, re.M)
