"""Going on with a run on a GPU, in torch's deterministic mode."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.training.helpers import decoder, train
from tests.training.test_resume import assert_same_run, interrupt_at, train_with_interruptions
from training.config import Compile, Device, Precision, RuntimeConfig

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU"),
]


@pytest.fixture(autouse=True)
def deterministic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # torch asks for it
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("precision", [Precision.fp32, Precision.bf16, Precision.fp16])
@pytest.mark.parametrize("compile_", [Compile.off, Compile.on])
def test_a_run_goes_on_to_the_same_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision, compile_: Compile
) -> None:
    runtime = RuntimeConfig(device=Device.cuda, precision=precision, compile=compile_)
    train(tmp_path / "whole", decoder(dropout=0.1), runtime=runtime)
    interrupt_at(monkeypatch, 13)
    train_with_interruptions(tmp_path / "parted", shape={"dropout": 0.1}, runtime=runtime)
    assert_same_run(tmp_path / "whole", tmp_path / "parted")
