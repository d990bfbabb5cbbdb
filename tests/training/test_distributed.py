"""The number of ranks does not change what is learned: real processes, by torchrun, on a CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.training.helpers import decoder, train
from tests.training.in_ranks import KINDS, LONGER, RUNS, train_all
from training.checkpoint import Checkpoint, load_checkpoint
from training.run_folder import LAST

pytestmark = pytest.mark.slow

BOUND = 1e-5  # of losses in nats/char; sums in another order come to 3e-7 here
ROUNDED = {"fp16": 1e-3}  # rounding after each sum lets small differences grow


def torchrun(count: int, folder: Path, *checkpoint: Path) -> None:
    """Train everything on `count` ranks."""
    command = ["torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "-m", "tests.training.in_ranks"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-m", *command, *map(str, [folder, *checkpoint])]
    subprocess.run(arguments, cwd=ROOT, env=environment, timeout=300, check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs on one, two and four ranks, in folders of these names."""
    folder = tmp_path_factory.mktemp("processes")
    torch.set_num_threads(1)
    train_all(folder / "1", RUNS | KINDS, None)
    torchrun(4, folder / "4")
    torchrun(2, folder / "2", folder / "4" / "muon" / "checkpoints" / LAST)
    return folder


def last(folder: Path, count: int, name: str) -> Checkpoint:
    return load_checkpoint(folder / str(count) / name / "checkpoints" / LAST)


@pytest.mark.parametrize(
    ("count", "name"), [*((2, name) for name in (*RUNS, *KINDS)), *((4, name) for name in RUNS)], ids=str
)
def test_several_ranks_learn_what_one_does(folder: Path, count: int, name: str) -> None:
    one, several = last(folder, 1, name), last(folder, count, name)
    bound = ROUNDED.get(name, BOUND)
    assert several.state.validation_loss == pytest.approx(one.state.validation_loss, abs=bound)
    assert several.state.best_validation_loss == pytest.approx(one.state.best_validation_loss, abs=bound)
    assert several.state.losses == pytest.approx(one.state.losses, abs=bound)
    assert (several.step, several.state.characters) == (one.step, one.state.characters)
    for weight, expected in zip(several.weights.values(), one.weights.values(), strict=True):
        torch.testing.assert_close(weight, expected, rtol=0, atol=10 * bound)


@pytest.mark.parametrize("count", [1, 2])
def test_a_run_of_four_ranks_resumes_on_fewer(folder: Path, tmp_path: Path, count: int) -> None:
    if count == 1:
        train(tmp_path, decoder(seed=9), last=last(folder, 4, "muon"), steps=LONGER)
        found = load_checkpoint(tmp_path / "checkpoints" / LAST)
    else:
        found = last(folder, count, "longer")
    _, alone = train(tmp_path / "alone", last=last(folder, 1, "muon"), steps=LONGER)
    assert found.step == 60
    assert found.state.validation_loss == pytest.approx(alone.final_validation_loss, abs=BOUND)


def test_rank_0_alone_writes(folder: Path) -> None:
    for run in (each for count in "24" for each in (folder / count).iterdir()):
        assert len(list(run.glob("events.*[0-9]"))) == 1
        assert sorted(file.name for file in run.iterdir() if "events" not in file.name) == ["checkpoints"]
