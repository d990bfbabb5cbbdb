import gc
import inspect
import math
import weakref
from collections.abc import Generator, Sequence
from itertools import islice, product
from typing import Any

import pytest
import torch
from torch import Tensor

import sampling.generate
from model.config import AttentionKind, PositionKind, ScoringKind
from model.decoder import Decoder
from sampling.filters import SamplingParams
from sampling.generate import decode_one_token, generate, generate_batch, prefill
from sampling.kv_cache import KVCache
from tests.sampling.helpers import BOTH_KINDS, CONTEXT, MODEL, PROMPTS, decoder, ids_of
from tests.sampling.reference_filters import FILTERS, assert_drawn_from, exact


def window(ids: Sequence[int], context: int = CONTEXT) -> Sequence[int]:
    """Ids that a decoder without a cache is to see of all so far, id by id: at the end of a context its last half."""
    seen: list[int] = []
    for one in ids:
        seen = [*seen, one] if len(seen) < context else [*seen, one][-max(context // 2, 1) :]
    return seen


def uncached(model: Decoder, ids: Sequence[int]) -> Tensor:
    """The logits after all ids, computed from all of them that are to be seen."""
    return model(torch.tensor([window(ids, model.config.context)]))[0, -1]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize(
    ("scoring", "position", "attention"), list(product(ScoringKind, PositionKind, ([kind] for kind in BOTH_KINDS)))
)
@pytest.mark.parametrize(
    ("prompts", "shift"),
    [(PROMPTS, False), (PROMPTS, True), ([PROMPTS[2], PROMPTS[2][::-1]], True)],
    ids=["unequal", "unequal, shift", "equal, shift"],
)
def test_cached_logits_are_those_without_a_cache_across_two_ends_of_the_context(
    scoring: ScoringKind,
    position: PositionKind,
    attention: list[AttentionKind],
    dtype: torch.dtype,
    tolerance: float,
    prompts: list[list[int]],
    shift: bool,
) -> None:
    model = decoder(scoring, position, attention, token_shift=shift).to(dtype)
    texts = [list(prompt[-CONTEXT:]) for prompt in prompts]
    renewed = 0
    for step in islice(generate_batch(model, prompts, SamplingParams(), range(len(prompts))), 30):
        for text, chosen, logits in zip(texts, step.ids.tolist(), step.logits, strict=True):
            torch.testing.assert_close(logits, uncached(model, text), rtol=0, atol=tolerance)
            text.append(chosen)
            renewed += len(text) > CONTEXT and len(window(text)) == CONTEXT // 2
    assert renewed >= 2 * len(prompts)


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
@pytest.mark.parametrize("initial_size", [1, sampling.generate.INITIAL_SIZE])
@pytest.mark.parametrize(("scoring", "position"), list(product(ScoringKind, PositionKind)))
def test_a_cache_of_static_shape_or_one_that_grows_gives_the_same_logits(
    scoring: ScoringKind, position: PositionKind, initial_size: int, static: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = decoder(scoring, position, BOTH_KINDS, token_shift=True).double()
    plain = list(islice(generate_batch(model, PROMPTS[1:], SamplingParams(), [1, 2]), 30))
    monkeypatch.setattr("sampling.generate.INITIAL_SIZE", initial_size)
    monkeypatch.setattr("sampling.generate.has_cuda_graphs", lambda _: static)
    monkeypatch.setattr("sampling.generate.capture_graph", lambda *_: decode_one_token)
    for expected, step in zip(plain, generate_batch(model, PROMPTS[1:], SamplingParams(), [1, 2]), strict=False):
        torch.testing.assert_close(step.logits, expected.logits, rtol=0, atol=1e-12)
        assert torch.equal(step.ids, expected.ids)


@pytest.mark.parametrize("context", [1, 2, 3])
def test_the_shortest_contexts_generate_as_without_a_cache(context: int) -> None:
    model = decoder(context=context)
    text = [1, 2, 3][-context:]
    for step in islice(generate_batch(model, [[1, 2, 3]], SamplingParams(), [0]), 12):
        torch.testing.assert_close(step.logits[0], uncached(model, text))
        text.append(int(step.ids))


def test_equal_prompts_are_prefilled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []

    def noted(decoder: Decoder, sequences: Sequence[Sequence[int]]) -> KVCache:
        read.append(list(sequences))
        return prefill(decoder, sequences)

    monkeypatch.setattr("sampling.generate.prefill", noted)
    next(generate_batch(MODEL, [[1, 2, 3]] * 5 + [[4, 5]], SamplingParams(), range(6)))
    assert read == [[(1, 2), (4,)]]


def test_a_cache_is_freed_without_garbage_collection() -> None:
    gc.disable()  # it would free cycles, but late
    try:
        steps = generate_batch(MODEL, [[1, 2, 3]], SamplingParams(), [0])
        next(steps)
        assert isinstance(steps, Generator)
        cache = weakref.ref(inspect.getgeneratorlocals(steps)["cache"])
        assert cache() is not None
        steps.close()
        assert cache() is None
    finally:
        gc.enable()


def test_an_enormous_context_allocates_only_what_is_read() -> None:
    model = decoder(position=PositionKind.none, context=2**40)
    steps = generate_batch(model, [[1, 2, 3], [4]], SamplingParams(), [0, 1])
    *_, step = islice(steps, 50)
    assert step.ids.shape == (2,)
    assert isinstance(steps, Generator)
    state = inspect.getgeneratorlocals(steps)
    assert state["cache"].size == sampling.generate.INITIAL_SIZE
    assert len(state["recent"]) < 60


def test_stale_slots_of_a_cache_are_never_attended_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "new_empty", lambda like, *shape: torch.full(shape, math.nan, dtype=like.dtype))
    expected = ids_of(40, prompt=[1, 2, 3], count=2)
    monkeypatch.undo()
    assert ids_of(40, prompt=[1, 2, 3], count=2) == expected


def test_the_same_seed_samples_the_same_text_far_past_the_context() -> None:
    first = ids_of(40, seed=3)
    torch.rand(5)
    assert ids_of(40, seed=3) == first
    assert ids_of(40, seed=4) != first


def test_a_sample_does_not_depend_on_how_many_are_drawn_beside_it() -> None:
    together = ids_of(40, count=3, seed=3)
    assert together == [ids_of(40, seed=3 + i)[0] for i in range(3)]


def test_a_sample_does_not_depend_on_the_prompts_beside_it() -> None:
    together = zip(
        *(step.ids.tolist() for step in islice(generate_batch(MODEL, PROMPTS, SamplingParams(), [5, 6, 7]), 40)),
        strict=True,
    )
    alone = [ids_of(40, prompt=prompt, seed=5 + i)[0] for i, prompt in enumerate(PROMPTS)]
    assert list(map(list, together)) == alone


@pytest.mark.parametrize("name", FILTERS)
def test_samples_have_the_distribution_of_the_model(name: str) -> None:
    params = FILTERS[name][0]
    drawn = torch.tensor(ids_of(2, count=5000, params=params))
    expected = exact(name, MODEL(torch.tensor([[1, 2]]))[0, -1])
    assert_drawn_from(drawn[:, 0], expected)
    with pytest.raises(AssertionError):
        assert_drawn_from(drawn[:, 0], expected.roll(1))
    likeliest = int(drawn[:, 0].mode().values)  # and so the cache has a part in it
    assert_drawn_from(drawn[drawn[:, 0] == likeliest, 1], exact(name, MODEL(torch.tensor([[1, 2, likeliest]]))[0, -1]))


def test_sampling_leaves_gradients_and_mode_as_they_were() -> None:
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
        next(generate_batch(MODEL, prompts, SamplingParams(), range(len(prompts))))


def test_every_prompt_needs_a_seed() -> None:
    with pytest.raises(ValueError, match="a seed for each of 2 prompts, got 1"):
        next(generate_batch(MODEL, [[1], [2]], SamplingParams(), [0]))
