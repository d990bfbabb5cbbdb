"""Checks of a sweep before its first job, and the failures reported after its last."""

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import pytest

import cli.sweep
from cli.compose import compose, initialize, register
from cli.overrides import parse
from cli.sweep import sweep_problems, take_failures, write_failure

register()


def problems(*arguments: str) -> list[str]:
    fixed = [each.input_line or "" for each in parse(arguments) if not each.is_sweep_override()]
    with initialize():
        return sweep_problems("train", compose("train", fixed), arguments)


def test_every_swept_value_is_composed_once_and_not_with_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    composed: list[Sequence[str]] = []

    def counted(command: str, overrides: Sequence[str]) -> Any:
        composed.append(overrides)
        return compose(command, overrides)

    monkeypatch.setattr(cli.sweep, "compose", counted)
    assert problems("seed=range(0,5)", "model.heads=1,2,4", "model.width=16,32", "name=a") == []
    assert len(composed) == 1 + 4 + 2 + 1
    assert {each for overrides in composed for each in overrides} == {
        *(f"seed={seed}" for seed in range(5)),
        *("model.heads=1", "model.heads=2", "model.heads=4", "model.width=16", "model.width=32", "name=a"),
    }


def test_the_problems_of_all_values_are_found_together() -> None:
    found = problems("model.heads=1,3", "training.steps=0,1", "model.dropout=0,2", "training.optimizer=adamw,sgd")
    assert [problem.split(":")[0] for problem in found] == [
        *("training.steps", "model.heads", "model.dropout", "training.optimizer")
    ]


def test_a_preset_that_is_a_sweep_stands_alone_and_its_values_are_checked() -> None:
    assert problems("experiment=scoring_study") == []
    assert problems("experiment=scoring_study", "model.scoring=dot,cosine")[0].startswith(
        "model.scoring: Invalid value"
    )
    (problem,) = problems("experiment=laptop,scoring_study")
    assert problem == "experiment: expected one where it is a sweep by itself, got scoring_study among others"


def test_a_range_without_steps_is_left_to_the_sweeper() -> None:
    assert problems("model.dropout=interval(0,0.5)", "model.heads=choice(1,2)") == []


def test_a_search_by_validation_loss_needs_one() -> None:
    assert problems("seed=0,1", "data.validation_fraction=0") == []
    with patch.object(cli.sweep, "compose", lambda *given: searched(compose(*given))):
        (problem,) = problems("seed=0,1", "data.validation_fraction=0,0.1")
    assert problem == "data.validation_fraction: expected more than 0 for a search by validation loss, got 0"


def searched(composed: Any) -> Any:
    """As hydra/sweeper=optuna, which may not be installed."""
    composed.hydra.runtime.choices["hydra/sweeper"] = "optuna"
    return composed


def test_failed_jobs_are_named_with_their_reasons_once(tmp_path: Any) -> None:
    for number, reason in ((2, "this"), (10, "that"), (0, "this")):
        write_failure(tmp_path / "sweep" / str(number), reason)
    assert take_failures(tmp_path / "sweep") == ["jobs 0, 2: this", "job 10: that"]
    assert take_failures(tmp_path / "sweep") == []
