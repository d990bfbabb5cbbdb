import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import chaos
from bench.chaos import COMMON, Tally, differences, logged, main, misread
from bench.disk import Disk, UnavailableError
from bench.faults import FAULTS, befall, end, held, saved_at, saved_step, unfinished, unloadable
from bench.soak import TINY, Process, write_text
from bench.stopwatch import RunFailedError
from training.checkpoint import Checkpoint, load_checkpoint


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing befell."""
    folder = tmp_path_factory.mktemp("finished")
    write_text(folder / "text.txt")
    settings = [f"data.path={folder / 'text.txt'}", "training.steps=60", f"hydra.run.dir={folder / 'run'}"]
    with closing(Process([*TINY, *COMMON.split(), *settings])) as process:
        assert end(process) == []
    return folder / "run"


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


def test_runs_killed_twice_come_to_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--kills", "2", "--setups", "1", "--steps", "300", "--faults", "--output", str(tmp_path)])
    text = (tmp_path / "chaos_cpu.md").read_text(encoding="utf-8")
    assert stopped.value.code == 0, text
    found = json.loads((tmp_path / "chaos_cpu.json").read_text(encoding="utf-8"))
    assert (found["trial"], found["faults"]) == (True, [])
    assert sum(found["tallies"][0]["moments"].values()) == found["tallies"][0]["kills"] == 2
    assert found["tallies"][0]["finished"] >= 1
    assert "**2 kills, 0 differences, 0 unloadable checkpoints.**" in text
    assert text in capsys.readouterr().out


def test_a_copy_of_a_run_does_not_differ_from_it(run: Path, finished: Path) -> None:
    assert differences(run, finished) == []


@pytest.mark.parametrize(
    ("file", "part", "pick"),
    [
        ("last.pt", "weights", lambda checkpoint: checkpoint.weights["embedding.weight"]),
        ("best.pt", "weights", lambda checkpoint: checkpoint.weights["embedding.weight"]),
        ("last.pt", "optimizers", lambda checkpoint: next(iter(checkpoint.optimizers[0][0].values()))),
    ],
)
def test_a_single_bit_of_a_checkpoint_is_found(
    run: Path, finished: Path, file: str, part: str, pick: Callable[[Checkpoint], torch.Tensor]
) -> None:
    change(run / "checkpoints" / file, lambda checkpoint: flip_a_bit(pick(checkpoint)))
    (name,) = differences(run, finished)
    assert name.startswith(f"{file}/{part}/")


def test_another_state_is_found_but_for_its_clocks(run: Path, finished: Path) -> None:
    change(run / "checkpoints" / "last.pt", lambda checkpoint: vars_of(checkpoint).update(seconds=1e6))
    assert differences(run, finished) == []
    change(run / "checkpoints" / "last.pt", lambda checkpoint: vars_of(checkpoint).update(skipped=1))
    assert differences(run, finished) == ["last.pt/state/skipped"]


def vars_of(checkpoint: Checkpoint) -> dict[str, Any]:
    return vars(checkpoint.state)


def test_another_summary_and_files_left_behind_are_found(run: Path, finished: Path) -> None:
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    (run / "summary.json").write_text(json.dumps(summary | {"date": "2000-01-01", "steps": 59}), encoding="utf-8")
    (run / "checkpoints" / ".last.pt.01234567.tmp").touch()
    assert differences(run, finished) == ["summary.json/steps", "unfinished/0"]


def test_what_was_logged_and_is_gone_is_found(run: Path, finished: Path) -> None:
    events = next(run.glob("events.*"))
    with open(events, "r+b") as stream:
        stream.truncate(events.stat().st_size // 2)
    assert {name.partition("/")[0] for name in differences(run, finished)} == {"board"}
    board = logged(finished)
    assert "loss/training" in misread(run, board, step=60)
    assert misread(run, board, step=0) == []


def test_what_was_logged_after_the_last_checkpoint_does_not_count(run: Path, finished: Path) -> None:
    board = logged(run)
    board["loss/training"] = board["loss/training"][:-1]  # the run has more than the other one
    assert misread(finished, board, step=59) == []
    assert misread(finished, board, step=60) == ["loss/training"]


def test_a_run_that_was_killed_before_it_had_a_folder_has_lost_nothing(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert (unloadable(run), saved_step(run), saved_at(run), unfinished(run)) == ([], -1, 0, set())
    assert misread(run, logged(finished), step=-1) == []


def test_a_checkpoint_that_cannot_be_read_is_found(run: Path, finished: Path) -> None:
    assert unloadable(run) == []
    assert saved_step(run) == 60
    content = (run / "checkpoints" / "best.pt").read_bytes()
    (run / "checkpoints" / "best.pt").write_bytes(content[: len(content) // 2])
    (problem,) = unloadable(run)
    assert "best.pt" in problem
    assert differences(run, finished)[0].startswith("unreadable: ")


def test_a_difference_is_told_and_ends_the_command_with_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def endure(*given: Any) -> Iterator[None]:
        tally = given[-1]
        assert isinstance(tally, Tally)
        tally.kills, tally.finished, tally.differences = 1, 1, ["last.pt/weights/made up"]
        yield

    monkeypatch.setattr(chaos, "Bed", lambda *_: None)
    monkeypatch.setattr(chaos, "endure", endure)
    with pytest.raises(SystemExit) as stopped:
        main(["--kills", "1", "--setups", "1", "--faults", "--output", str(tmp_path)])
    assert stopped.value.code == 1
    told = capsys.readouterr().out
    assert "**1 kills, 1 differences, 0 unloadable checkpoints.**" in told
    assert "- last.pt/weights/made up\n" in told


def test_a_fault_holds_or_says_what_does_not_or_is_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def happen(found: list[str] | Exception) -> dict[str, str]:
        def fault(*_: object) -> list[str]:
            """The sky stays where it is."""
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setitem(FAULTS, "made up", fault)
        return befall("made up", None, tmp_path)  # type: ignore[arg-type]

    assert happen([]) == {"fault": "made up", "must hold": "The sky stays where it is.", "found": "held"}
    assert held(happen([]))
    assert happen(["one", "two"])["found"] == "one; two"
    assert not held(happen(["one"]))
    assert not held(happen(RunFailedError("silent")))
    assert held(happen(UnavailableError("no root")))
    assert happen(UnavailableError("no root"))["found"] == "skipped: no root"


def test_another_end_than_the_expected_one_is_told() -> None:
    with closing(Process(["training.steps=0"])) as process:
        assert end(process, 2) == []
        assert "expected exit code 0, got 2" in end(process)[0]


def test_a_disk_can_be_filled_and_protected_for_some_processes_alone(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    try:
        disk = Disk(folder)
    except UnavailableError as error:
        pytest.skip(f"no disk of one's own: {error}")

    def writes() -> bool:
        command = [*disk.within, "dd", "if=/dev/zero", f"of={folder / 'file'}", "bs=64k", "count=1"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    with closing(disk):
        assert writes()
        assert (disk.seen / "file").stat().st_size == 2**16
        assert list(folder.iterdir()) == []
        (disk.seen / "file").unlink()
        for refuse, relent in (Disk.fill, Disk.empty), (Disk.protect, Disk.release):
            refuse(disk)
            assert not writes()
            relent(disk)
            assert writes()
            (disk.seen / "file").unlink()


def test_a_mistake_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for given, said in (["--kills", "0"], "--kills: expected at least 1, got 0"), (["--setups", "6"], "choose from 1"):
        with pytest.raises(SystemExit) as stopped:
            main(given)
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err
