"""Whole runs."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import training.evaluate
from board.capture import attention_maps
from board.config import BoardConfig
from data.batches import Windows
from model.config import PositionKind, ScoringKind
from tests.training.helpers import CPU, IDS, decoder, train
from training.config import Device, Precision, RuntimeConfig
from training.evaluate import evaluate


@pytest.mark.parametrize(("threads", "logits"), [(1, 2**24), (3, 2**24), (3, 1)])
def test_evaluation_is_the_mean_over_every_character_scored_once(
    threads: int, logits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.evaluate, "EVALUATION_LOGITS", logits)  # 1: a window at a time, fewer than threads
    torch.set_num_threads(threads)
    model = decoder(dropout=0.5)
    ids = torch.from_numpy(IDS[:60].astype(np.int64))
    windows = [ids[start : start + 9] for start in range(0, 59, 8)]
    model.eval()
    losses = [F.cross_entropy(model(window[None, :-1])[0], window[1:], reduction="none") for window in windows]
    model.train()
    expected = torch.cat(losses)
    assert len(expected) == 59
    assert evaluate(model, Windows(IDS[:60], 8), CPU) == pytest.approx(expected.mean().item(), rel=1e-5)
    assert model.training
    assert torch.get_num_threads() == threads


def test_a_run_learns_and_says_what_it_came_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, outcome = train(tmp_path)
    assert (outcome.steps, outcome.characters) == (40, 40 * 4 * 8)
    assert outcome.final_validation_loss == pytest.approx(evaluate(model, Windows(IDS[255:], 8), CPU))
    assert outcome.best_validation_loss is not None
    assert outcome.best_validation_loss < 0.5 < math.log(8)
    assert 0 < outcome.characters / outcome.characters_per_second < outcome.seconds
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["step 20/40", "step 40/40"]
    assert f"validation {outcome.final_validation_loss:.4f} nats/char" in lines[1]


def test_looking_more_often_does_not_change_what_is_learned(tmp_path: Path) -> None:
    seldom, _ = train(tmp_path / "seldom", decoder(dropout=0.2))
    board = BoardConfig(attention_every=1, sample_length=3)
    often, _ = train(tmp_path / "often", decoder(dropout=0.2), board=board, evaluate_every=3)
    assert all(torch.equal(one, other) for one, other in zip(seldom.parameters(), often.parameters(), strict=True))


@pytest.mark.parametrize("precision", [Precision.bf16, Precision.fp16])
def test_lower_precisions_learn_as_well(tmp_path: Path, precision: Precision) -> None:
    _, exact = train(tmp_path / "fp32")
    _, rounded = train(tmp_path / "other", runtime=RuntimeConfig(device=Device.cpu, precision=precision))
    assert rounded.best_validation_loss == pytest.approx(exact.best_validation_loss, abs=0.05)


@pytest.mark.parametrize("kind", ["single", "multi"])
@pytest.mark.parametrize("scoring", ScoringKind)
@pytest.mark.parametrize("position", PositionKind)
def test_every_scoring_learns_with_every_position(
    tmp_path: Path, kind: str, scoring: ScoringKind, position: PositionKind
) -> None:
    model = decoder(attention=[kind], scoring=scoring, position=position, layers=1)
    untrained = evaluate(model, Windows(IDS[255:], 8), CPU)
    _, outcome = train(tmp_path, model, steps=20, evaluate_every=20, board=BoardConfig(sample_length=0))
    assert outcome.best_validation_loss is not None
    assert outcome.best_validation_loss < untrained - 0.5
    (maps,) = attention_maps(model, torch.from_numpy(IDS[:8].astype(np.int64)))
    assert maps.shape == (1 if kind == "single" else 2, 8, 8)
    torch.testing.assert_close(maps.sum(-1), torch.ones(maps.shape[:2]))
