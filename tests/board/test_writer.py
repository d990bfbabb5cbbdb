"""The event file outlives faults of its disk."""

import resource
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from torch.utils.tensorboard.summary import scalar

from board import writer as board_writer
from board.writer import EventWriter

LOSS = scalar("loss", 1.0)


def steps(folder: Path) -> list[int]:
    return [
        event.step
        for file in sorted(folder.iterdir())
        for event in EventFileLoader(str(file)).Load()
        if event.summary.value
    ]


def test_records_wait_for_a_full_disk_and_none_is_torn(tmp_path: Path) -> None:
    said: list[str] = []
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    with closing(EventWriter(tmp_path, said.append)) as writer:
        writer.add_summary(LOSS, 1)
        (file,) = tmp_path.iterdir()
        resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 7, unlimited[1]))  # room for half a record
        try:
            for step in (2, 3):
                writer.add_summary(LOSS, step)
                writer.flush()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        assert steps(tmp_path) == [1]
        writer.add_summary(LOSS, 4)
    assert steps(tmp_path) == [1, 2, 3, 4]
    assert said == [
        f"TensorBoard: not written: File too large: {file}; what is logged waits",
        f"TensorBoard: written again: {file}",
    ]


def test_a_folder_that_vanishes_comes_back_with_what_is_logged_from_then_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with closing(EventWriter(folder)) as writer:
        writer.add_summary(LOSS, 1)
        writer.flush()
        assert steps(folder) == [1]
        shutil.rmtree(folder)
        writer.add_summary(LOSS, 2)
    assert steps(folder) == [2]


def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_writer, "MAX_PENDING", 1000)
    (tmp_path / "file").touch()
    said: list[str] = []
    writer = EventWriter(tmp_path / "file" / "run", said.append)
    for step in range(1000):
        writer.add_summary(LOSS, step)
    assert writer._pending.tell() < 2000
    assert [line.partition(":")[0] for line in said] == ["TensorBoard"] * 2
    assert said[0].endswith("what is logged waits")
    assert said[1].endswith("what is logged is lost")
