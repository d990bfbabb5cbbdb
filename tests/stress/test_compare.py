"""The comparison behind kills and faults finds a single bit, a lost value and a file left behind."""

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch

from tests.stress.compare import differences, logged, lost_tags, saved_step, unloadable
from tests.stress.process import TINY, Process
from tests.stress.reference import LOGGING, assert_ends
from training.checkpoint import BEST, LAST, Checkpoint, load_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 60 steps."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    settings = [f"data.path={text}", "training.steps=60", f"hydra.run.dir={folder}"]
    with closing(Process([*TINY, *LOGGING.split(), *settings])) as process:
        assert_ends(process)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def change(file: Path, how: Callable[[Checkpoint], None]) -> None:
    checkpoint = load_checkpoint(file)
    how(checkpoint)
    checkpoint.save(file)


def flip_a_bit(tensor: torch.Tensor) -> None:
    tensor.view(-1)[:1].view(torch.uint8)[:1].bitwise_xor_(1)


def test_a_copy_does_not_differ(run: Path, finished: Path) -> None:
    assert differences(run, finished) == []
    assert unloadable(run) == []
    assert saved_step(run) == 60


@pytest.mark.parametrize("name", [LAST, BEST])
def test_a_single_bit_of_a_weight_is_found(run: Path, finished: Path, name: str) -> None:
    change(run / "checkpoints" / name, lambda checkpoint: flip_a_bit(checkpoint.weights["embedding.weight"]))
    assert differences(run, finished) == [f"{name}/weights/embedding.weight"]


def test_another_state_is_found_but_for_its_clocks(run: Path, finished: Path) -> None:
    change(run / "checkpoints" / LAST, lambda checkpoint: vars(checkpoint.state).update(seconds=1e6))
    assert differences(run, finished) == []
    change(run / "checkpoints" / LAST, lambda checkpoint: vars(checkpoint.state).update(skipped=1))
    assert differences(run, finished) == [f"{LAST}/state/skipped"]


def test_another_summary_and_files_left_behind_are_found(run: Path, finished: Path) -> None:
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    (run / "summary.json").write_text(json.dumps(summary | {"date": "2000-01-01", "steps": 59}), encoding="utf-8")
    (run / "checkpoints" / f".{LAST}.01234567.tmp").touch()
    assert differences(run, finished) == ["summary.json/steps", "unfinished/0"]


def test_what_was_logged_and_is_gone_is_found(run: Path, finished: Path) -> None:
    events = next(run.glob("events.*"))
    with open(events, "r+b") as stream:
        stream.truncate(events.stat().st_size // 2)
    assert {name.partition("/")[0] for name in differences(run, finished)} == {"board"}
    board = logged(finished)
    assert "loss/training" in lost_tags(run, board, step=60)
    assert lost_tags(run, board, step=0) == []


def test_half_a_checkpoint_is_found(run: Path, finished: Path) -> None:
    content = (run / "checkpoints" / BEST).read_bytes()
    (run / "checkpoints" / BEST).write_bytes(content[: len(content) // 2])
    (problem,) = unloadable(run)
    assert BEST in problem
    assert differences(run, finished)[0].startswith("unreadable: ")
