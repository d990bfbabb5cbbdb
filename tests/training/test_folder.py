"""Checkpoints of a run on a disk that is full, or loses them."""

import errno
import os
import shutil
from itertools import count
from pathlib import Path

import pytest

from errors import UserError
from tests.training.helpers import before_steps, train
from tests.training.test_resume import assert_same_run
from training import loop
from training.checkpoint import Checkpoint, load_checkpoint


def full_disk(monkeypatch: pytest.MonkeyPatch, saves: range) -> None:
    """Let the disk be full during the saves of these numbers, from 0."""
    save, number = Checkpoint.save, count()

    def refused(self: Checkpoint, file: Path) -> None:
        if next(number) in saves:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        save(self, file)

    monkeypatch.setattr(Checkpoint, "save", refused)


def test_a_full_disk_is_said_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "whole", evaluate_every=10)
    capsys.readouterr()
    full_disk(monkeypatch, range(1, 5))  # all after the one at the beginning, up to the second evaluation
    train(tmp_path / "other", evaluate_every=10)
    lines = [line for line in capsys.readouterr().out.splitlines() if "saved" in line]
    folder = tmp_path / "other" / "checkpoints"
    assert lines == [
        f"not saved: No space left on device: {folder / 'best.safetensors'}; trying again at the next checkpoint",
        f"saved again: {folder}",
    ]
    assert_same_run(tmp_path / "whole", tmp_path / "other")


def test_a_best_that_could_not_be_saved_is_not_lost_to_later_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([3.0, 1.0, 2.0, 2.5])
    monkeypatch.setattr(loop, "evaluate", lambda *_: next(losses))
    full_disk(monkeypatch, range(3, 5))  # of step 20, best and last
    train(tmp_path, steps=40, evaluate_every=10)
    best = load_checkpoint(tmp_path / "checkpoints" / "best.safetensors")
    assert (best.step, best.state.best_validation_loss) == (20, 1.0)


def test_a_run_whose_end_was_not_saved_fails_and_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk(monkeypatch, range(3, 1000))
    with pytest.raises(
        UserError, match=r"expected to save best\.safetensors, last\.safetensors in .*, got: No space left on device"
    ):
        train(tmp_path)
    assert load_checkpoint(tmp_path / "checkpoints" / "last.safetensors").step == 20


def test_a_folder_that_vanishes_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before_steps(monkeypatch, {25}, lambda: shutil.rmtree(tmp_path / "run"))
    _, outcome = train(tmp_path / "run")
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.safetensors").step == outcome.steps == 40
    assert "vanished" in capsys.readouterr().out
