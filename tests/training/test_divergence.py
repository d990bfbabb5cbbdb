"""Runs whose loss or gradients are no longer finite."""

import json
import math
from collections.abc import Container
from pathlib import Path
from typing import Any

import pytest

from errors import UserError
from tests.training.helpers import CHARACTERS, TEXT, train
from tests.training.test_resume import assert_same_run, curves, interrupt_at, train_with_interruptions
from training import loop
from training.checkpoint import load_checkpoint
from training.config import OnDivergence
from training.divergence import ROLLBACKS, STREAK


def break_steps(monkeypatch: pytest.MonkeyPatch, broken: Container[int]) -> list[float]:
    """Spoil the gradient of the steps with these numbers, counted over all that are taken. Returns each one's rate."""
    step, rates = loop.train_step, list[float]()

    def spoiled(model: Any, optimizers: Any, *given: Any) -> Any:
        rates.append(optimizers[-1].param_groups[0]["lr"])
        if len(rates) not in broken:
            return step(model, optimizers, *given)
        hook = model.output.weight.register_hook(lambda gradient: gradient * math.nan)
        try:
            return step(model, optimizers, *given)
        finally:
            hook.remove()

    monkeypatch.setattr(loop, "train_step", spoiled)
    return rates


def test_a_step_that_is_not_finite_is_skipped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_steps(monkeypatch, {5, 12, 13})
    _, outcome = train(tmp_path)
    assert (outcome.steps, outcome.skipped_steps) == (40, 3)
    assert outcome.final_validation_loss is not None
    assert outcome.final_validation_loss < 0.5
    assert all(math.isfinite(loss) for _, loss in curves(tmp_path)["loss/training"])


def test_after_a_streak_training_goes_back_with_halved_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = break_steps(monkeypatch, range(11, 11 + STREAK))
    _, outcome = train(tmp_path, evaluate_every=10, checkpoint_every="1", steps=60)
    # Saved at an evaluation: the weights of step 10, which were as good at step 20.
    assert "back to step 20 with learning rates halved" in capsys.readouterr().out
    assert (outcome.steps, outcome.skipped_steps, len(rates)) == (60, STREAK, 70)
    assert rates[30] == pytest.approx(rates[20] / 2)
    assert load_checkpoint(tmp_path / "checkpoints" / "last.safetensors").state.rollbacks == 1
    assert [step for step, _ in curves(tmp_path)["loss/training"]] == [10, 20, 30, 40, 50, 60]


def test_an_interruption_at_a_skipped_step_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_steps(monkeypatch, {15, 35})
    train(tmp_path / "whole")
    monkeypatch.undo()
    break_steps(monkeypatch, {15, 35})
    interrupt_at(monkeypatch, 15, 35)
    assert train_with_interruptions(tmp_path / "parted") == [15, 35]
    assert_same_run(tmp_path / "whole", tmp_path / "parted")


def test_a_run_that_diverges_again_and_again_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = break_steps(monkeypatch, range(11, 10_000))
    with pytest.raises(
        UserError,
        match=r"got training\.learning_rate=0\.01, training\.muon_learning_rate=0\.02, after 3 rollbacks: the loss",
    ):
        train(tmp_path, evaluate_every=1000, steps=1000, checkpoint_every="10")
    assert len(rates) == 10 + (ROLLBACKS + 1) * STREAK


def test_a_run_may_stop_at_once_and_keeps_the_batch_to_look_at_and_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_steps(monkeypatch, range(11, 1000))
    with pytest.raises(UserError, match=r"not finite any more from step 11 on \(its batch: .*step_11\.json\)"):
        train(tmp_path, evaluate_every=1000, checkpoint_every="1", steps=1000, on_divergence=OnDivergence.stop)
    assert load_checkpoint(tmp_path / "checkpoints" / "last.safetensors").step == 10
    kept = json.loads((tmp_path / "diverged" / "step_11.json").read_text())
    assert kept["step"] == 11
    assert len(kept["texts"]) == 4
    assert all(len(text) == 9 and text in TEXT for text in kept["texts"])  # a context, and the character after it
    assert set("".join(kept["texts"])) <= set(CHARACTERS)


def test_a_validation_loss_that_is_not_finite_is_divergence_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([2.0, math.nan, 1.5, 1.0])
    monkeypatch.setattr(loop, "evaluate", lambda *_: next(losses))
    _, outcome = train(tmp_path, evaluate_every=10, steps=30)
    assert (outcome.steps, outcome.best_validation_loss) == (30, 1.0)
    assert [step for step, _ in curves(tmp_path)["loss/validation"]] == [10, 20, 30]
