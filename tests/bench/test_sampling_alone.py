import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import bench.sampling
import bench.sampling_alone
from bench.machine import Protocol
from bench.samplers import (
    new_decoder,
)
from bench.sampling import QUICK, TINY, WHOLE, Plan
from bench.sampling_alone import find_limit, find_start_up, first_output_seconds, mean_seconds, stretch
from bench.stopwatch import RunFailedError
from bench.throughput_report import Spread
from model.config import PositionKind
from sampling.likelihood import windows
from sampling.packing import packed

CPU = torch.device("cpu")
PAIR = replace(TINY, batch=2)
IDS = torch.tensor([[3, 1, 4, 1, 5]])


def test_stretches_lie_around_their_ids() -> None:
    assert stretch(100, context=256) == (36, 164)
    assert stretch(10_000, context=256) == (9936, 10_064)


@pytest.mark.parametrize("plan", [WHOLE, QUICK])
def test_of_the_two_stretches_the_late_one_alone_holds_a_reading_again_and_holds_one(plan: Plan) -> None:
    context = plan.shape.context
    first_after = {window.stop + 1 for window in windows(2 * plan.late, context)}
    early, late = (range(first, last + 1) for first, last in (stretch(id_, context) for id_ in (plan.early, plan.late)))
    assert len(early) == len(late)
    assert early.start >= 1
    assert (len(first_after & {*early}), len(first_after & {*late})) == (0, 1)


def test_an_id_of_a_stretch_is_timed_with_those_of_the_stretch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def ids() -> Iterator[int]:
        nonlocal now
        for number in range(1, 100):
            now += number  # the n-th id takes n seconds
            yield number

    monkeypatch.setattr(bench.sampling_alone, "time", SimpleNamespace(perf_counter=lambda: now))
    assert mean_seconds(ids(), [(3, 7), (38, 42)], CPU) == [5.0, 40.0]


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 4), (torch.bfloat16, 2)])
def test_the_limit_counts_what_is_read_for_an_id(dtype: torch.dtype, size: int) -> None:
    plain = new_decoder(TINY, PositionKind.rotary, CPU)
    found = find_limit(packed(plain, dtype, 2**18), Protocol(warm_up=0, repeats=1, seconds=0))
    assert found.weight_bytes == size * plain.config.block_parameter_count() + 4 * 65 * 16
    assert found.cache_bytes == 2 * 8 * 16 * 4  # keys and values, context, width
    assert found.ids_per_second == pytest.approx(found.bytes_per_second / (found.weight_bytes + found.cache_bytes))


def test_a_start_ends_with_the_first_byte() -> None:
    began = time.perf_counter()
    seconds = first_output_seconds(["-c", "import time; print('x', flush=True); time.sleep(2)"])
    assert 0 < seconds < time.perf_counter() - began - 1


@pytest.mark.parametrize(("code", "message"), [("pass", "exit code 0"), ("import sys; sys.exit('a\\nb')", "code 1: b")])
def test_a_process_that_says_nothing_or_fails_has_no_start(code: str, message: str) -> None:
    with pytest.raises(RunFailedError, match=message):
        first_output_seconds(["-c", code])


def test_the_first_turn_does_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    times = iter([100.0, 1.0, 2.0, 3.0, 2.0, 4.0])  # `import torch` and `sample.py` in turn
    asked = []

    def pretended(arguments: Sequence[str]) -> float:
        asked.append(arguments[-1])
        return next(times)

    file = tmp_path / "best.pt"
    monkeypatch.setattr(bench.sampling_alone, "first_output_seconds", pretended)
    monkeypatch.setattr(bench.sampling_alone, "find_checkpoint", Path)
    checkpoint = SimpleNamespace(model=new_decoder(TINY, PositionKind.rotary, CPU).config)
    monkeypatch.setattr(bench.sampling_alone, "load_checkpoint", lambda _: checkpoint)
    found = find_start_up(file, turns=2)
    assert (found.import_torch, found.sample) == (Spread(2.0, 2.0, 2.0), Spread(3.5, 3.0, 4.0))
    assert found.ratio == Spread(1.75, 1.5, 2.0)
    assert found.checkpoint == "1 layers, width 16, context 8"
    assert asked == ["import torch; print(flush=True)", "length=1"] * 3
