"""Folders: of presets that are the user's own, and of runs and sweeps that begin in the same second."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from conf.schema import CONF
from tests.commands.helpers import TINY, call
from training.run_folder import LAST, make_folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a preset of the user's, in which every run begins in the same second."""
    always = SimpleNamespace(strftime=lambda _: "now")
    monkeypatch.setattr("hydra.core.utils.datetime", SimpleNamespace(now=lambda: always))
    (tmp_path / "presets" / "experiment").mkdir(parents=True)
    preset = Path(CONF, "experiment", "laptop.yaml").read_text(encoding="utf-8").replace("name: laptop", "name: mine")
    (tmp_path / "presets" / "experiment" / "mine.yaml").write_text(preset, encoding="utf-8")
    return tmp_path


def test_the_users_presets_are_found_in_every_combination_and_all_runs_of_one_second_run(folder: Path) -> None:
    def train(*arguments: str) -> str:
        done = call(*TINY, "experiment=mine", *arguments, folder=folder)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert "checkpoint=runs/mine/now\n" in train("--config-dir", "presets", "resume=auto")
    assert "finished: runs/mine/now, at step 2; a larger training.steps would go on" in train(
        "-cd=presets", "resume=auto"
    )
    assert "resumed  at step 2 of 3" in train("--run", "hydra.searchpath=[presets]", "resume=auto", "training.steps=3")
    assert "resumed  at step 3 of 4" in train(
        *("-cd", "presets", "hydra.searchpath=[.]", "resume=runs/mine/now", "training.steps=4")
    )
    assert "checkpoint=runs/mine/now_2\n" in train("--config-dir=presets")
    assert "written to runs/mine/now_3/comparison.md" in train("--config-dir=presets", "-m", "seed=0,1")
    assert "finished: runs/mine/now_3/1, at step 2" in train(
        "hydra.searchpath=[file://presets]", "resume=runs/mine/now_3/1"
    )


def test_what_is_refused_leaves_no_folder_and_a_folder_of_the_users_choice_is_no_other(folder: Path) -> None:
    (folder / "run" / "checkpoints").mkdir(parents=True)
    (folder / "run" / "checkpoints" / LAST).touch()
    for argument, line in {
        "data.path=none": "data.path: ",
        "hydra.run.dir=run": "hydra.run.dir: expected a folder without a run in it",
        "++hydra.run.dir=run": "hydra.run.dir: expected a folder without a run in it",
        "--config-dir=none": "--config-dir: expected a folder of presets, got 'none'",
        "--config-dir=": "--config-dir: expected a folder of presets, got ''",
        "--config-name=mine": "expected presets in a folder named by --config-dir, got --config-name",
    }.items():
        done = call(*TINY, argument, folder=folder)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert done.stderr.startswith(f"train.py: {line}")
        assert {file.name for file in folder.iterdir()} == {"presets", "run"}
    (folder / "runs").symlink_to("a disk that is not mounted")
    done = call(*TINY, folder=folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_no_two_get_the_same_new_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(lambda _: make_folder(tmp_path / "name" / "now"), range(50)))
    assert {folder.name for folder in made} == {"now", *(f"now_{number}" for number in range(2, 51))}
