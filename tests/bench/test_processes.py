import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench import processes
from bench.machine import Protocol
from bench.processes import QUICK, STRONG, THREADS, WEAK, Findings, Speed, Way, main, rows, ways, work


def test_batches_grow_with_the_processes_or_are_divided() -> None:
    found = ways([QUICK], [2, 4], "cpu")
    assert [(way.kind, way.processes, way.threads, way.shape.batch) for way in found] == [
        *[(WEAK, 1, 1, 4), (WEAK, 2, 1, 8), (STRONG, 2, 1, 4), (THREADS, 1, 2, 4)],
        *[(WEAK, 4, 1, 16), (STRONG, 4, 1, 4), (THREADS, 1, 4, 4)],
    ]
    assert THREADS not in {way.kind for way in ways([QUICK], [2], "cuda")}


def test_gains_are_over_one_process_in_the_same_round() -> None:
    both = [Way(WEAK, QUICK, 1), Way(WEAK, replace(QUICK, batch=8), 2)]
    # The second round is twice as slow, and its gain is 1.6 all the same.
    rounds = [[Speed(1.0, 2**30), Speed(1.25, 2**29)], [Speed(2.0, 2**30), Speed(2.5, 2**29)]]
    row = rows(Findings({}, "cpu", "", Protocol(), both, rounds, trial=True))[1]
    assert (row["times one"], row["of the ideal"]) == ("1.60 (1.60 to 1.60)", "80%")
    assert row["a process, GiB"] == "0.50"


def test_a_worker_takes_steps_and_leaves_word(tmp_path: Path) -> None:
    file = tmp_path / "speed.json"
    work(json.dumps([asdict(QUICK), asdict(Protocol(1, 2, 0.0)), "cpu", str(file)]))
    found = Speed(**json.loads(file.read_text()))
    assert found.seconds > 0
    assert found.in_use > 2**20


def test_every_way_is_measured_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(processes, "measure", lambda way, *_: Speed(way.shape.batch / 8 / way.processes, 2**30))
    main(["--quick", "--processes", "2", "3", "--output", str(tmp_path)])
    found = json.loads((tmp_path / "processes_cpu.json").read_text())
    assert [way["processes"] for way in found["ways"]] == [1, 2, 2, 1, 3, 3, 1]
    assert (tmp_path / "processes_cpu.md").read_text() in capsys.readouterr().out
