from collections.abc import Sequence
from itertools import islice, product
from typing import Any

import pytest
import torch
from torch import Tensor

import model.generate
from model.cache import Cache
from model.choice import Choice
from model.config import AttentionKind, DecoderConfig, PositionKind, ScoringKind
from model.decoder import Decoder
from model.generate import (
    Continuation,
    Ended,
    continuations,
    decode_one,
    generate,
    log_probabilities,
    prefill,
    side_by_side,
    steps,
    windows,
    write,
)

CONTEXT = 12
BOTH_KINDS = [AttentionKind.single, AttentionKind.multi]


def decoder(
    scoring: ScoringKind = ScoringKind.dot,
    position: PositionKind = PositionKind.sinusoidal,
    attention: Sequence[AttentionKind] = (AttentionKind.multi,),
    context: int = CONTEXT,
    **options: Any,
) -> Decoder:
    config = DecoderConfig(
        layers=2,
        heads=2,
        width=16,
        context=context,
        scoring=scoring,
        position=position,
        attention=list(attention),
        **options,
    )
    return Decoder(config, 7, torch.Generator().manual_seed(0)).eval()


MODEL = decoder()


def ids_of(length: int, prompt: Sequence[int] = (1, 2), **options: Any) -> list[list[int]]:
    """One list for each sample."""
    return [list(sample) for sample in zip(*islice(generate(MODEL, prompt, **options), length), strict=True)]


def window(ids: Sequence[int], context: int = CONTEXT) -> Sequence[int]:
    """What a decoder without a cache is to see of all ids so far, id by id: at the end of a context its last half."""
    seen: list[int] = []
    for one in ids:
        seen = [*seen, one] if len(seen) < context else [*seen, one][-max(context // 2, 1) :]
    return seen


def uncached(model: Decoder, ids: Sequence[int]) -> Tensor:
    """The logits after all ids, computed from all of them that are to be seen."""
    return model(torch.tensor([window(ids, model.config.context)]))[0, -1]


def test_the_window_keeps_half_a_context() -> None:
    assert [len(window(range(n))) for n in (1, 12, 13, 19, 20)] == [1, 12, 6, 12, 6]
    assert window(range(20)) == [14, 15, 16, 17, 18, 19]


# Three prompts: longer than the context, of one id, and in between, so that rows are full at different steps.
PROMPTS = [[1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6, 0], [3], [2, 2, 5, 1, 6]]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize(
    ("scoring", "position", "attention"), list(product(ScoringKind, PositionKind, ([kind] for kind in BOTH_KINDS)))
)
def test_cached_logits_are_those_without_a_cache_across_two_ends_of_the_context(
    scoring: ScoringKind, position: PositionKind, attention: list[AttentionKind], dtype: torch.dtype, tolerance: float
) -> None:
    model = decoder(scoring, position, attention).to(dtype)
    texts = [list(prompt[-CONTEXT:]) for prompt in PROMPTS]
    renewed = 0
    for step in islice(steps(model, PROMPTS, Choice(), [0, 1, 2]), 30):
        for text, chosen, logits in zip(texts, step.ids.tolist(), step.logits, strict=True):
            torch.testing.assert_close(logits, uncached(model, text), rtol=0, atol=tolerance)
            text.append(chosen)
            renewed += len(text) > CONTEXT and len(window(text)) == CONTEXT // 2
    assert renewed >= 2 * len(PROMPTS)


@pytest.mark.parametrize(("scoring", "position"), list(product(ScoringKind, PositionKind)))
def test_greedy_text_is_the_likeliest_character_each_time(scoring: ScoringKind, position: PositionKind) -> None:
    model = decoder(scoring, position, BOTH_KINDS)
    text = [1, 2]
    for _ in range(40):
        text.append(int(uncached(model, text).argmax()))
    assert continuations(model, [1, 2], 40, choice=Choice(temperature=0)) == [text[2:]]
    assert continuations(model, [1, 2], 40, choice=Choice(top_k=1), seed=9) == [text[2:]]


@pytest.mark.parametrize("scoring", ScoringKind)
@pytest.mark.parametrize("position", PositionKind)
def test_shapes_that_never_change_give_the_same_logits(scoring: ScoringKind, position: PositionKind) -> None:
    model = decoder(scoring, position, BOTH_KINDS).double()
    growing = prefill(model, [[1, 2, 3], [4, 5, 6]])
    caches = [Cache(model.config, 2, CONTEXT, model.embedding.weight, fixed=fixed) for fixed in (False, True)]
    for cache in caches:
        cache.put([0, 1], growing, [1, 0])
    for ids in torch.tensor([[0, 1], [2, 3], [4, 5]]):
        one, other = (decode_one(model, ids, cache) for cache in caches)
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert caches[0].stop < caches[1].stop == CONTEXT


@pytest.mark.parametrize("context", [1, 2, 3])
def test_the_shortest_contexts_have_no_half_to_keep(context: int) -> None:
    model = decoder(context=context)
    text = [1, 2, 3][-context:]
    for step in islice(steps(model, [[1, 2, 3]], Choice(), [0]), 12):
        torch.testing.assert_close(step.logits[0], uncached(model, text))
        text.append(int(step.ids))


def test_reading_ahead_fills_a_cache_as_reading_one_by_one_does() -> None:
    model = decoder(ScoringKind.mean, attention=BOTH_KINDS).double()
    ahead = prefill(model, [[1, 2, 3, 4], [5, 6]])
    for row, ids in enumerate([[1, 2, 3, 4], [5, 6]]):
        one_by_one = Cache(model.config, 1, CONTEXT, model.embedding.weight)
        for one in ids:
            decode_one(model, torch.tensor([one]), one_by_one)
        assert ahead.held[row] == one_by_one.held[0] == len(ids)
        for left, right in zip(ahead.layers, one_by_one.layers, strict=True):
            torch.testing.assert_close(left.stores[0][row], right.stores[0][0])


def test_one_prompt_is_read_once_for_all_its_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []

    def noted(decoder: Decoder, sequences: Sequence[Sequence[int]]) -> Cache:
        read.append(list(sequences))
        return prefill(decoder, sequences)

    monkeypatch.setattr(model.generate, "prefill", noted)
    next(steps(MODEL, [[1, 2, 3]] * 5 + [[4, 5]], Choice(), range(6)))
    assert read == [[(1, 2), (4,)]]


def test_the_same_seed_writes_the_same_text_far_past_the_context() -> None:
    first = ids_of(40, seed=3)
    torch.rand(5)
    assert ids_of(40, seed=3) == first
    assert ids_of(40, seed=4) != first


def test_a_sample_does_not_depend_on_how_many_are_drawn_beside_it() -> None:
    together = ids_of(40, count=3, seed=3)
    assert together == [ids_of(40, seed=3 + i)[0] for i in range(3)]


def test_a_sample_does_not_depend_on_the_prompts_beside_it() -> None:
    together = zip(*(step.ids.tolist() for step in islice(steps(MODEL, PROMPTS, Choice(), [5, 6, 7]), 40)), strict=True)
    alone = [ids_of(40, prompt=prompt, seed=5 + i)[0] for i, prompt in enumerate(PROMPTS)]
    assert list(map(list, together)) == alone


def test_characters_are_drawn_as_often_as_they_are_likely() -> None:
    logits = MODEL(torch.tensor([[1, 2]]))[0, -1]
    drawn = torch.tensor(ids_of(1, count=4000, choice=Choice(temperature=1.3))).flatten()
    expected = (logits / 1.3).softmax(0)
    observed = drawn.bincount(minlength=7) / 4000
    # Pearson's statistic; with 6 degrees of freedom it stays below 22.5 in 999 of 1,000 cases.
    assert 4000 * ((observed - expected) ** 2 / expected).sum() < 22.5


def test_writing_leaves_gradients_and_mode_as_they_were() -> None:
    model = decoder(dropout=0.5, attention_dropout=0.5).train()
    first = list(islice(generate(model, [1]), 20))
    for _ in islice(generate(model, [1]), 2):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
    assert model.training
    assert first == list(islice(generate(model.eval(), [1]), 20))


@pytest.mark.parametrize("prompts", [[[]], [[1], []]])
def test_an_empty_prompt_is_refused(prompts: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="at least one id"):
        next(steps(MODEL, prompts, Choice(), [0, 1]))


def test_continuations_are_what_is_generated() -> None:
    assert continuations(MODEL, [1, 2], 40, count=3, seed=5) == ids_of(40, count=3, seed=5)


def test_no_length_is_no_continuation() -> None:
    assert continuations(MODEL, [1, 2], 0, count=2) == [[], []]


def test_many_continuations_are_written_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = continuations(MODEL, [1, 2], 20, count=5, seed=5)
    each = 2 * 2 * 16 * CONTEXT * 4  # bytes of keys and values in two layers
    monkeypatch.setattr(model.generate, "CACHE_BYTES", 2 * each)
    assert side_by_side(MODEL, 5, 5) == [range(5, 7), range(7, 9), range(9, 10)]
    assert continuations(MODEL, [1, 2], 20, count=5, seed=5) == everything
    monkeypatch.setattr(model.generate, "CACHE_BYTES", 1)
    assert side_by_side(MODEL, 2, 0) == [range(1), range(1, 2)]


@pytest.mark.parametrize("end", range(7))
def test_a_continuation_goes_up_to_its_end_or_as_far_as_the_context(end: int) -> None:
    everything = ids_of(11, count=40, seed=5)  # twelve places, two of them taken: the eleventh id needs no place
    expected = [ids[: ids.index(end)] if end in ids else ids for ids in everything]
    assert any(end in ids for ids in everything)
    assert continuations(MODEL, [1, 2], 40, end=end, count=40, seed=5) == expected
    assert continuations(MODEL, [1, 2], 2, end=end, count=40, seed=5) == [ids[:2] for ids in expected]


@pytest.mark.parametrize("at_once", [1, 7, 50])
def test_writing_fetches_ids_one_by_one_or_together_and_stops_where_it_should(at_once: int) -> None:
    *_, written = write(MODEL, [1, 2], 30, stops=[[3, 4], [6]], seeds=range(8), at_once=at_once)
    for each, ids in zip(written, ids_of(30, count=8), strict=True):
        stops = [n for n in range(30) if ids[n] == 6 or ids[n - 1 : n + 1] == [3, 4]]
        if stops:
            assert (each.ended, each.ids) == (Ended.stop, ids[: stops[0] - (ids[stops[0]] == 4)])
        else:
            assert (each.ended, each.ids) == (Ended.length, ids)
        assert len(each.ids) == len(each.log_probabilities) == each.settled


def test_what_may_become_a_stop_is_not_settled() -> None:
    sample = Continuation()
    settled = []
    for one in [5, 1, 1, 2, 1, 2, 3, 1]:
        sample.add(one, -1.0, [[1, 2, 3, 4], [2, 9]], None)
        settled.append(sample.settled)
    assert settled == [1, 1, 2, 2, 4, 4, 4, 7]
    for one in [2, 3]:
        sample.add(one, -1.0, [[1, 2, 3, 4], [2, 9]], None)
    assert sample.settled == 7
    sample.add(4, -1.0, [[1, 2, 3, 4], [2, 9]], None)
    assert (sample.ended, sample.ids, sample.settled) == (Ended.stop, [5, 1, 1, 2, 1, 2, 3], 7)


@pytest.mark.parametrize("context", [1, 2, 3, 7, CONTEXT])
@pytest.mark.parametrize("length", [1, 5, 12, 13, 40])
def test_a_text_is_scored_as_it_was_written(context: int, length: int) -> None:
    model = decoder(context=context).double()
    *_, (sample,) = write(model, [1], length)
    found = log_probabilities(model, [1, *sample.ids])
    assert found.tolist() == pytest.approx(sample.log_probabilities, abs=1e-10)


def test_the_probabilities_of_all_continuations_sum_to_one() -> None:
    texts = list(product(range(7), repeat=3))
    total = sum(log_probabilities(MODEL, [1, *text]).sum().exp().item() for text in texts)
    assert total == pytest.approx(1, abs=1e-5)


def test_windows_cover_a_text_and_overlap_by_less_than_half_a_context() -> None:
    assert windows(5, 6) == [slice(0, 5)]
    assert windows(6, 6) == [slice(0, 6)]
    assert windows(11, 6) == [slice(0, 6), slice(4, 10), slice(8, 11)]
    assert windows(3, 1) == [slice(0, 1), slice(1, 2), slice(2, 3)]
