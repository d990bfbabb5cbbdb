"""Faults of disks, folders, other processes and signals: each is reported in one line, and costs a run nothing else."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from shutil import rmtree

import pytest

from tests.stress.compare import differences, saved_at, unloadable
from tests.stress.disk import Disk, UnavailableError
from tests.stress.process import Reference, reference
from training.run_folder import LAST

SHORT, LONG = pytest.param(300, marks=pytest.mark.slow), pytest.param(1500, marks=pytest.mark.stress)  # steps


@pytest.fixture(scope="module", params=[LONG])
def undisturbed(
    request: pytest.FixtureRequest, text: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reference]:
    settings = [f"data.path={text}", f"training.steps={request.param}"]
    with reference(settings, tmp_path_factory.mktemp("faults") / "reference") as trained:
        yield trained


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def disk(run: Path) -> Iterator[Disk]:
    try:
        disk = Disk(run)
    except UnavailableError as error:
        pytest.skip(f"needs a small disk, which root can mount: {error}")
    with closing(disk):
        yield disk


def leave_unfinished(file: Path) -> None:
    """As if the writer had been killed just before it renamed `file` from its temporary name."""
    file.rename(file.with_name(f".{file.name}.0123abcd.tmp"))


@pytest.mark.parametrize("refuse", [Disk.fill, Disk.protect], ids=["full", "read-only"])
@pytest.mark.parametrize("passes", [True, False], ids=["for a while", "to the end"])
def test_a_disk_that_refuses_is_reported_once_and_costs_no_checkpoint(
    undisturbed: Reference, disk: Disk, refuse: Callable[[Disk], None], passes: bool
) -> None:
    process = undisturbed.start_and_evaluate(disk.folder, disk.within)
    refuse(disk)
    process.wait_for("not saved")
    assert unloadable(disk.seen) == []
    if passes:
        disk.empty() if refuse is Disk.fill else disk.release()
        process.wait_for("saved again")
    process.assert_ends(0 if passes else 2)
    assert [process.output().count(message) for message in ("not saved", "not written")] == [1, 1]
    assert unloadable(disk.seen) == []
    if passes:
        assert differences(disk.seen, undisturbed.run) == []


def test_a_disk_read_only_from_the_start_is_exit_code_2_with_the_reason(undisturbed: Reference, disk: Disk) -> None:
    disk.protect()
    process = undisturbed.start(disk.folder, disk.within)
    process.assert_ends(2)
    assert "Read-only" in process.errors()


def test_a_vanished_folder_is_made_anew_and_loses_only_what_was_logged(undisturbed: Reference, run: Path) -> None:
    process = undisturbed.start_and_evaluate(run)
    rmtree(run.rename(run.with_name("gone")))
    process.assert_ends()
    assert [each for each in differences(run, undisturbed.run) if not each.startswith("board/")] == []


def test_a_second_process_in_the_folder_is_refused_and_the_first_undisturbed(undisturbed: Reference, run: Path) -> None:
    first, second = undisturbed.start_and_evaluate(run), undisturbed.start(run)
    second.assert_ends(2)
    first.assert_ends()
    assert differences(run, undisturbed.run) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_resumes_exactly(undisturbed: Reference, run: Path, number: signal.Signals) -> None:
    process = undisturbed.start_and_evaluate(run)
    process.popen.send_signal(number)
    process.assert_ends(128 + number)
    assert f"resume={run}" in process.output()
    undisturbed.assert_resumes(run)


@pytest.mark.parametrize("undisturbed", [SHORT, LONG], indirect=True)
def test_a_torn_event_file_is_repaired(undisturbed: Reference, run: Path) -> None:
    undisturbed.start_and_evaluate(run).kill()
    with open(next(run.glob("events.*")), "r+b") as stream:
        begun = stream.read(20)
        stream.seek(0, os.SEEK_END)
        stream.write(begun)
    undisturbed.assert_resumes(run)


def test_a_run_killed_before_its_first_checkpoint_begins_anew(undisturbed: Reference, run: Path) -> None:
    for _ in range(2):
        process = undisturbed.start(run)
        process.until(lambda: saved_at(run) > 0)
        process.kill()
        leave_unfinished(run / "checkpoints" / LAST)
    undisturbed.start(run).assert_ends()
    assert differences(run, undisturbed.run) == []


def test_a_run_killed_before_its_summary_writes_it_when_resumed(undisturbed: Reference, run: Path) -> None:
    undisturbed.start(run).assert_ends()
    leave_unfinished(run / "summary.json")
    undisturbed.assert_resumes(run)
