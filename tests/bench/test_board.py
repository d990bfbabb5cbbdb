import json
from pathlib import Path

import pytest
import torch

from bench.board import main, preset
from bench.peers import commit
from bench.stopwatch import ROOT
from model.config import PositionKind
from training.config import Device


def test_a_short_run_tells_what_its_board_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--steps", "10", "--output", str(tmp_path)])
    found = json.loads((tmp_path / "board_cpu.json").read_text(encoding="utf-8"))
    assert (found["steps"], found["commit"], found["trial"]) == (10, commit(ROOT), True)
    assert set(found["board_seconds"]) == {"training", "attention", "pictures", "validation"}
    assert all(seconds > 0 for seconds in found["board_seconds"].values())
    assert found["share"] == pytest.approx(sum(found["board_seconds"].values()) / found["training_seconds"])
    text = (tmp_path / "board_cpu.md").read_text(encoding="utf-8")
    assert "**A trial" in text
    assert text in capsys.readouterr().out
    assert f"{100 * found['share']:.2f} %" in text


def test_the_preset_is_the_default_one_and_its_enums_are_typed() -> None:
    config = preset(torch.device("cpu"), steps=None)
    assert config.name == "laptop"
    assert config.training.steps > 10
    assert config.model.position is PositionKind.rotary
    assert config.runtime.device is Device.cpu


def test_a_mistake_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--steps", "0"])
    assert stopped.value.code == 2
    assert "--steps: expected at least 1, got 0" in capsys.readouterr().err
