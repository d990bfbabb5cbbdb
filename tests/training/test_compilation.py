"""Compiled training steps, against plain ones."""

from pathlib import Path

import pytest
import torch
from torch import nn

from errors import UserError
from model.config import PositionKind
from tests.training.helpers import decoder, train
from tests.training.test_resume import curves
from training import device
from training.config import Compile, Device, Precision, RuntimeConfig


def on_cpu(wanted: Compile, precision: Precision = Precision.fp32) -> RuntimeConfig:
    return RuntimeConfig(device=Device.cpu, precision=precision, compile=wanted)


@pytest.mark.slow
@pytest.mark.skipif(device._missing_for_compiling(torch.device("cpu")) is not None, reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # torch's own use
@pytest.mark.parametrize(
    ("position", "precision", "tolerance"),
    [
        (PositionKind.sinusoidal, Precision.fp32, 2e-4),
        (PositionKind.rotary, Precision.fp32, 2e-4),
        (PositionKind.rotary, Precision.bf16, 0.05),  # compiled kernels round less often
    ],
)
def test_fifty_compiled_steps_learn_what_plain_ones_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], position: PositionKind, precision: Precision, tolerance: float
) -> None:
    def losses(wanted: Compile) -> list[float]:
        model, outcome = train(
            tmp_path / wanted, decoder(position=position), on_cpu(wanted, precision), steps=50, evaluate_every=5
        )
        assert outcome.compiled == (wanted is Compile.on)
        assert not any("_orig_mod" in name for name in model.state_dict())
        shown = curves(tmp_path / wanted)
        return [loss for name in ("loss/training", "loss/validation") for _, loss in shown[name]]

    plain, compiled = losses(Compile.off), losses(Compile.on)
    assert "compiled in" in capsys.readouterr().out
    assert len(plain) == 20
    assert compiled == pytest.approx(plain, abs=tolerance)


class Broken(nn.Module):
    """A compiled model that fails when it is called."""

    def forward(self, *_: object) -> torch.Tensor:
        torch.rand(1)  # as dropout does
        raise RuntimeError("no such kernel\nand much more")


def test_where_compiling_fails_by_itself_training_goes_on_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, plain = train(tmp_path / "plain", decoder(dropout=0.2))
    monkeypatch.setattr(torch, "compile", lambda _: Broken())
    monkeypatch.setattr(device, "COMPILE_FLOP", 0)
    monkeypatch.setattr(device, "_missing_for_compiling", lambda _: None)
    _, fallen_back = train(tmp_path / "auto", decoder(dropout=0.2), on_cpu(Compile.auto))
    assert "not compiled: torch.compile failed: RuntimeError: no such kernel\n" in capsys.readouterr().out
    assert fallen_back.final_validation_loss == plain.final_validation_loss
    assert not fallen_back.compiled


def test_where_compiling_was_asked_for_its_failure_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda _: Broken())
    monkeypatch.setattr(device, "_missing_for_compiling", lambda _: None)
    with pytest.raises(UserError, match=r"runtime\.compile: expected .* to compile, but .* no such kernel; try off"):
        train(tmp_path, decoder(), on_cpu(Compile.on))
