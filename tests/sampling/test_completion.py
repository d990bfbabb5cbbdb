import pytest
import torch

import sampling.completion
from sampling.completion import Completion, FinishReason, complete, complete_stepwise, seed_batches
from tests.sampling.helpers import CONTEXT, MODEL, ids_of


def test_completions_are_what_is_generated() -> None:
    assert complete(MODEL, [1, 2], 40, count=3, seed=5) == ids_of(40, count=3, seed=5)


def test_completions_leave_threads_as_they_were() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        complete(MODEL, [1, 2], 2)
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)


def test_length_zero_is_no_completion() -> None:
    assert complete(MODEL, [1, 2], 0, count=2) == [[], []]


def test_many_completions_are_sampled_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = complete(MODEL, [1, 2], 20, count=5, seed=5)
    each = 2 * 2 * 16 * CONTEXT * 4  # bytes of keys and values in two layers
    monkeypatch.setattr(sampling.completion, "CACHE_BYTES", 2 * each)
    assert seed_batches(MODEL, 5, 5) == [range(5, 7), range(7, 9), range(9, 10)]
    assert complete(MODEL, [1, 2], 20, count=5, seed=5) == everything
    monkeypatch.setattr(sampling.completion, "CACHE_BYTES", 1)
    assert seed_batches(MODEL, 2, 0) == [range(1), range(1, 2)]


@pytest.mark.parametrize("end", range(7))
def test_a_completion_goes_up_to_its_end_or_as_far_as_the_context(end: int) -> None:
    everything = ids_of(11, count=40, seed=5)  # of twelve positions the prompt takes two; the eleventh id needs none
    expected = [ids[: ids.index(end)] if end in ids else ids for ids in everything]
    assert any(end in ids for ids in everything)
    assert complete(MODEL, [1, 2], 40, end=end, count=40, seed=5) == expected
    assert complete(MODEL, [1, 2], 2, end=end, count=40, seed=5) == [ids[:2] for ids in expected]


@pytest.mark.parametrize("at_once", [1, 7, 50])
def test_the_number_of_steps_per_fetch_changes_nothing(at_once: int) -> None:
    *_, written = complete_stepwise(MODEL, [1, 2], 30, stops=[[3, 4], [6]], seeds=range(8), steps_per_fetch=at_once)
    for each, ids in zip(written, ids_of(30, count=8), strict=True):
        stops = [n for n in range(30) if ids[n] == 6 or ids[n - 1 : n + 1] == [3, 4]]
        if stops:
            assert (each.finish_reason, each.ids) == (FinishReason.stop, ids[: stops[0] - (ids[stops[0]] == 4)])
        else:
            assert (each.finish_reason, each.ids) == (FinishReason.length, ids)
        assert len(each.ids) == len(each.log_probabilities) == each.final


def test_a_partial_stop_sequence_is_not_final() -> None:
    sample = Completion()
    final = []
    for one in [5, 1, 1, 2, 1, 2, 3, 1]:
        sample.append(one, -1.0, [[1, 2, 3, 4], [2, 9]], None)
        final.append(sample.final)
    assert final == [1, 1, 2, 2, 4, 4, 4, 7]
    for one in [2, 3]:
        sample.append(one, -1.0, [[1, 2, 3, 4], [2, 9]], None)
    assert sample.final == 7
    sample.append(4, -1.0, [[1, 2, 3, 4], [2, 9]], None)
    assert (sample.finish_reason, sample.ids, sample.final) == (FinishReason.stop, [5, 1, 1, 2, 1, 2, 3], 7)
