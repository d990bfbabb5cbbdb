"""The comparison of kills and faults finds a single bit, a lost value and a file left behind."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.stress.compare import differences, unloadable
from tests.stress.process import reference
from training.checkpoint import load_checkpoint
from training.run_folder import LAST


@pytest.mark.slow
def test_every_difference_but_of_clocks_is_found(text: Path, tmp_path: Path) -> None:
    run, last = tmp_path / "run", tmp_path / "run" / "checkpoints" / LAST
    with reference([f"data.path={text}", "training.steps=60"], tmp_path / "reference") as undisturbed:
        shutil.copytree(undisturbed.run, run)
    assert differences(run, undisturbed.run) == unloadable(run) == []

    checkpoint = load_checkpoint(last)
    checkpoint.state.seconds += 1
    checkpoint.save(last)
    assert differences(run, undisturbed.run) == []
    checkpoint.weights["embedding.weight"].view(-1)[:1].view(torch.uint8)[:1].bitwise_xor_(1)
    checkpoint.save(last)
    (run / "checkpoints" / f".{LAST}.01234567.tmp").touch()
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    (run / "summary.json").write_text(json.dumps(summary | {"date": "2000-01-01", "steps": 59}), encoding="utf-8")
    assert differences(run, undisturbed.run) == [
        f"{LAST}/weights/embedding.weight",
        "summary.json/steps",
        "unfinished/0",
    ]

    events = next(run.glob("events.*[0-9]"))
    events.write_bytes(events.read_bytes()[: events.stat().st_size // 2])
    assert "board/loss/training" in differences(run, undisturbed.run)
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    assert len(unloadable(run)) == 1
