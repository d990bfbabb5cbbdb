"""Sampling on a GPU."""

from itertools import islice, product

import pytest
import torch

from model.config import PositionKind, ScoringKind
from sampling.completion import complete_stepwise
from sampling.filters import SamplingParams
from sampling.generate import generate_batch
from sampling.packing import packed
from tests.sampling.helpers import BOTH_KINDS, PROMPTS, decoder

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU"),
]


@pytest.mark.parametrize("prompts", [PROMPTS, PROMPTS[1:]], ids=["full", "growing"])
@pytest.mark.parametrize(("scoring", "position"), list(product(ScoringKind, PositionKind)))
def test_a_cuda_graph_samples_what_the_cpu_samples(
    scoring: ScoringKind, position: PositionKind, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampling.generate.INITIAL_SIZE", 1)
    model, seeds = decoder(scoring, position, BOTH_KINDS).double(), range(len(prompts))
    on_cpu = list(islice(generate_batch(model, prompts, SamplingParams(), seeds), 30))
    for expected, step in zip(on_cpu, generate_batch(model.cuda(), prompts, SamplingParams(), seeds), strict=False):
        assert step.ids.tolist() == expected.ids.tolist()
        torch.testing.assert_close(step.logits.cpu(), expected.logits, rtol=0, atol=1e-10)


def test_ids_fetched_together_are_those_fetched_one_by_one() -> None:
    model = decoder(ScoringKind.dot, PositionKind.rotary, BOTH_KINDS).double().cuda()
    *_, together = complete_stepwise(model, [1, 2], 40, stops=[[3]], seeds=range(4))
    *_, one_by_one = complete_stepwise(model, [1, 2], 40, stops=[[3]], seeds=range(4), steps_per_fetch=1)
    assert together == one_by_one


def test_a_packed_decoder_samples_in_bf16() -> None:
    model = decoder().cuda()
    both = (model, packed(model, torch.bfloat16, 1))
    exact, found = (next(generate_batch(each, [[1, 2]], SamplingParams(), [0])).logits.clone() for each in both)
    torch.testing.assert_close(found, exact, rtol=0, atol=0.05)
