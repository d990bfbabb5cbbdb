import json
from pathlib import Path

import pytest
import torch

from bench import large
from bench.large import LARGE, main
from bench.ours import Shape
from bench.workers import GetReady
from model.config import DecoderConfig


def test_the_large_decoder_has_a_hundred_million_parameters() -> None:
    shape = DecoderConfig(layers=LARGE.layers, heads=LARGE.heads, width=LARGE.width, context=LARGE.context)
    assert shape.block_parameter_count() == pytest.approx(1e8, rel=0.02)


class InProcess:
    """A worker without a process of its own; those that have one are tested with `bench.throughput`."""

    failure = None

    def __init__(self, get_ready: GetReady, windows: int, shape: Shape, device: torch.device) -> None:
        self.ready, self._answer = get_ready(windows, shape, device)
        self.answers: list[object] = []

    def take_turn(self, steps: int) -> None:
        self.answers.append(self._answer(steps))

    def close(self) -> None: ...


class Failing:
    """A worker that can take no step."""

    ready, failure = None, "MemoryError: full"

    def __init__(self, *_: object) -> None: ...
    def take_turn(self, _: object) -> None: ...
    def close(self) -> None: ...


def test_a_quick_run_trains_whole_and_in_micro_batches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "Worker", InProcess)
    main(["--quick", "--output", str(tmp_path)])
    found = json.loads((tmp_path / "large_cpu.json").read_text(encoding="utf-8"))
    assert not found["failed"]
    one, whole = (way["steps"] for way in found["ways"])
    assert [way["windows"] for way in found["ways"]] == [1, large.QUICK.batch]
    assert one["step_bytes"] < whole["step_bytes"] < whole["whole_step_bytes"]
    parameters = found["ways"][0]["parameters"]
    assert 4 * parameters < one["kept_bytes"] == whole["kept_bytes"] <= 12 * parameters + 64
    assert one["in_use"] > 2**20
    assert (tmp_path / "large_cpu.md").read_text(encoding="utf-8") in capsys.readouterr().out


def test_where_no_step_can_be_taken_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "Worker", Failing)
    with pytest.raises(SystemExit) as stopped:
        main(["--quick", "--output", str(tmp_path)])
    assert stopped.value.code == 2
    assert "expected training steps, got none: MemoryError: full; MemoryError: full" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
