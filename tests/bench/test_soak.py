import json
from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.soak import Process, Sample, judge, main, watch
from bench.stopwatch import RunFailedError

MIB = 2**20


def made_up(resident: Callable[[int], float], files: Callable[[int], int]) -> list[Sample]:
    """A run of 1000 steps, of which every tenth is seen."""
    return [Sample(step / 10, step, int(resident(step)), files(step)) for step in range(0, 1001, 10)]


def test_a_short_run_is_watched_and_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--steps", "1500", "--output", str(tmp_path)])
    assert stopped.value.code == 0
    found = json.loads((tmp_path / "soak_cpu.json").read_text(encoding="utf-8"))
    assert (found["steps"], found["trial"], found["holds"]) == (1500, True, True)
    assert found["samples"][-1]["step"] == 1500
    assert all(sample["resident"] > 10 * MIB and sample["files"] > 2 for sample in found["samples"][1:])
    text = (tmp_path / "soak_cpu.md").read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    assert f"{100 * found['growth']:.2f} %" in text
    assert (tmp_path / "soak_cpu.png").exists() == bool(find_spec("matplotlib"))


def test_what_stays_as_it_was_when_it_had_settled_holds() -> None:
    verdict = judge(made_up(lambda step: (300 if step < 50 else 400 + step % 7) * MIB, lambda step: 4 + step % 3), 1000)
    assert verdict.holds
    assert abs(verdict.growth) < 0.01


def test_memory_that_grows_is_found() -> None:
    verdict = judge(made_up(lambda step: (400 + step / 20) * MIB, lambda _: 4), 1000)
    assert verdict.growth == pytest.approx(40 / 407, rel=0.02)
    assert not verdict.holds


def test_files_that_stay_open_are_found() -> None:
    verdict = judge(made_up(lambda _: 400 * MIB, lambda step: 4 + step // 300), 1000)
    assert verdict.growth == 0
    assert not verdict.holds


def test_what_happens_before_the_run_has_settled_and_after_its_last_step_does_not_count() -> None:
    samples = made_up(lambda step: (900 if step < 100 or step == 1000 else 400) * MIB, lambda step: 4 + 9 * (step < 99))
    assert judge(samples, 1000).resident == (400 * MIB, 400 * MIB)
    assert judge(samples, 1000).files == (4, 4)


def test_a_run_that_fails_says_why() -> None:
    with closing(Process(["training.steps=0"])) as process, pytest.raises(RunFailedError, match=r"training\.steps"):
        watch(process, 0.05)


def test_a_mistake_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--steps", "10"])
    assert stopped.value.code == 2
    assert "--steps: expected at least 1000, got 10" in capsys.readouterr().err
