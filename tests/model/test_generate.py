from collections.abc import Sequence
from itertools import islice
from typing import Any

import pytest
import torch

from model.config import DecoderConfig
from model.decoder import Decoder
from model.generate import continuations, generate, next_probabilities

MODEL = Decoder(DecoderConfig(layers=1, heads=2, width=16, context=6), 7, torch.Generator().manual_seed(0))


def write(length: int, prompt: Sequence[int] = (1, 2), **options: Any) -> list[list[int]]:
    """One list for each sample."""
    return [list(sample) for sample in zip(*islice(generate(MODEL, prompt, **options), length), strict=True)]


def test_the_same_seed_writes_the_same_text_far_past_the_context() -> None:
    first = write(40, seed=3)
    torch.rand(5)
    assert write(40, seed=3) == first
    assert write(40, seed=4) != first


def test_a_sample_does_not_depend_on_how_many_are_drawn_beside_it() -> None:
    together = write(40, count=3, seed=3)
    assert together == [write(40, seed=3 + i)[0] for i in range(3)]


def test_greedy_text_is_the_likeliest_character_of_the_last_window_each_time() -> None:
    ids = [1, 2]
    for _ in range(20):
        ids.append(int(MODEL(torch.tensor([ids[-6:]]))[0, -1].argmax()))
    assert write(20, temperature=0.0) == [ids[2:]]
    assert write(20, top_k=1) == [ids[2:]]


def test_characters_are_drawn_as_often_as_they_are_likely() -> None:
    logits = MODEL(torch.tensor([[1, 2]]))[0, -1]
    drawn = torch.tensor(write(1, count=4000, temperature=1.3)).flatten()
    expected = (logits / 1.3).softmax(0)
    observed = drawn.bincount(minlength=7) / 4000
    # Pearson's statistic; with 6 degrees of freedom it stays below 22.5 in 999 of 1,000 cases.
    assert 4000 * ((observed - expected) ** 2 / expected).sum() < 22.5


def test_top_k_keeps_the_k_likeliest_in_proportion() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0]])
    expected = logits[0, [1, 3]].softmax(0)
    torch.testing.assert_close(next_probabilities(logits, 1.0, 2)[0], torch.tensor([0, expected[0], 0, expected[1]]))
    torch.testing.assert_close(next_probabilities(logits, 1.0, 9), logits.softmax(-1))


@pytest.mark.parametrize("temperature", [0.0, 1e-30, 1.0, 1e30])
def test_every_temperature_gives_probabilities(temperature: float) -> None:
    probabilities = next_probabilities(torch.tensor([[-1000.0, 2.0, 1000.0]]), temperature, None)
    assert probabilities.sum().item() == pytest.approx(1)
    assert probabilities.isfinite().all()


def test_writing_leaves_gradients_and_mode_as_they_were() -> None:
    MODEL.train()
    for _ in islice(generate(MODEL, [1]), 2):
        assert torch.is_grad_enabled()
    assert MODEL.training


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one id"):
        next(generate(MODEL, []))


def test_continuations_are_what_is_generated() -> None:
    assert continuations(MODEL, [1, 2], 40, count=3, seed=5) == write(40, count=3, seed=5)


@pytest.mark.parametrize("end", range(7))
def test_a_continuation_goes_up_to_its_end_or_as_far_as_the_context(end: int) -> None:
    everything = write(5, count=40, seed=5)  # six places, two of them taken: the fifth id needs no place
    expected = [ids[: ids.index(end)] if end in ids else ids for ids in everything]
    assert any(end in ids for ids in everything)
    assert continuations(MODEL, [1, 2], 40, end=end, count=40, seed=5) == expected
    assert continuations(MODEL, [1, 2], 2, end=end, count=40, seed=5) == [ids[:2] for ids in expected]
