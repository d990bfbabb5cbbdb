"""Compiled training steps, against plain ones."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from errors import UserError
from model.config import PositionKind
from tests.training.helpers import decoder, train
from training import device
from training.config import Compile, Device, Precision, RuntimeConfig
from training.device import choose_runtime

needs_compiler = pytest.mark.skipif(
    device._missing_for_compiling(torch.device("cpu")) is not None, reason="no C++ compiler"
)


def on_cpu(wanted: Compile, precision: Precision = Precision.fp32) -> RuntimeConfig:
    return RuntimeConfig(device=Device.cpu, precision=precision, compile=wanted)


@needs_compiler
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # torch's own use
@pytest.mark.parametrize(
    ("position", "precision", "tolerance"),
    [
        (PositionKind.sinusoidal, Precision.fp32, 2e-4),  # losses are printed to four digits
        (PositionKind.rotary, Precision.fp32, 2e-4),
        (PositionKind.rotary, Precision.bf16, 0.05),  # compiled kernels round less often
    ],
)
def test_fifty_compiled_steps_learn_what_plain_ones_do(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    position: PositionKind,
    precision: Precision,
    tolerance: float,
) -> None:
    def told(wanted: Compile) -> str:
        model, outcome = train(
            tmp_path / wanted, decoder(position=position), on_cpu(wanted, precision), steps=50, evaluate_every=5
        )
        assert outcome.compiled == (wanted is Compile.on)
        assert not any("_orig_mod" in name for name in model.state_dict())
        return capsys.readouterr().out

    plain, compiled = told(Compile.off), told(Compile.on)
    assert "compiled in" in compiled
    assert len(losses(plain)) == 20
    assert losses(compiled) == pytest.approx(losses(plain), abs=tolerance)


def losses(told: str) -> list[float]:
    """Every training and validation loss of the lines of a run."""
    words = [line.split() for line in told.splitlines() if line.startswith("step ")]
    return [float(line[line.index(name) + 1]) for line in words for name in ("loss", "validation")]


class Broken(nn.Module):
    """What torch.compile gives when it is going to fail."""

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


def missing(what: str | None) -> Callable[[torch.device], str | None]:
    return lambda _: what


@pytest.mark.parametrize(
    ("wanted", "lacks", "flop", "one_shape", "chosen", "reason"),
    [
        (Compile.off, None, math.inf, True, Compile.off, "not compiled (as asked)"),
        (Compile.on, None, 0.0, False, Compile.on, "compiled (as asked)"),
        (Compile.auto, None, 1e15, True, Compile.auto, "compiled (a long run)"),
        (Compile.auto, None, 1e12, True, Compile.off, "not compiled (too short a run to gain by it)"),
        (Compile.auto, None, 1e15, False, Compile.off, "not compiled (lines differ in length)"),
        (Compile.auto, "C++ compiler", 1e15, True, Compile.off, "not compiled (no C++ compiler was found)"),
    ],
)
def test_whether_to_compile_is_chosen_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
    wanted: Compile,
    lacks: str | None,
    flop: float,
    one_shape: bool,
    chosen: Compile,
    reason: str,
) -> None:
    monkeypatch.setattr(device, "_missing_for_compiling", missing(lacks))
    found = choose_runtime(on_cpu(wanted), flop, one_shape)
    assert found.compile is chosen
    assert found.reason.endswith(f", {reason}")


def test_compiling_that_was_asked_for_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_missing_for_compiling", missing("C++ compiler"))
    with pytest.raises(UserError, match=r"runtime\.compile: expected a machine with C\+\+ compiler, got one without"):
        choose_runtime(on_cpu(Compile.on))
