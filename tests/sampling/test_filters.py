import math
from itertools import islice

import pytest
import torch

from sampling.filters import SamplingParams, logits_to_probs, sample_next_token, uniforms
from tests.sampling.reference_filters import FILTERS, exact

CPU = torch.device("cpu")
LOGITS = torch.tensor([2.0, 0.5, 1.5, -1.0, 1.0, 0.0, -1.2])


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_leaves_what_its_definition_says_in_proportion(name: str) -> None:
    found = logits_to_probs(LOGITS[None], FILTERS[name][0])[0]
    torch.testing.assert_close(found.double(), exact(name, LOGITS), rtol=1e-5, atol=1e-7)
    assert name in ("temperature 1", "hot", "cold") or (found == 0).any()


def test_filters_work_on_what_those_before_them_left() -> None:
    # Of the two likeliest the first has 0.62, enough for top_p=0.6; of all seven it has but 0.43.
    assert logits_to_probs(LOGITS[None], SamplingParams(top_p=0.6)).count_nonzero() == 2
    assert logits_to_probs(LOGITS[None], SamplingParams(top_k=2, top_p=0.6)).count_nonzero() == 1


@pytest.mark.parametrize(
    "params", [SamplingParams(top_p=1.0), SamplingParams(top_k=7), SamplingParams(top_k=99), SamplingParams(min_p=1e-9)]
)
def test_a_filter_that_lets_everything_pass_changes_nothing(params: SamplingParams) -> None:
    assert torch.equal(logits_to_probs(LOGITS[None], params), logits_to_probs(LOGITS[None], SamplingParams()))


def test_a_filter_that_lets_everything_pass_keeps_the_rarest_of_very_many() -> None:
    logits = torch.randn(1, 20_000, generator=torch.Generator().manual_seed(0))
    assert logits_to_probs(logits, SamplingParams(top_p=1.0)).count_nonzero() == 20_000


@pytest.mark.parametrize(
    "params",
    [SamplingParams(temperature=0), SamplingParams(top_k=1), SamplingParams(top_p=1e-9), SamplingParams(min_p=1.0)],
)
def test_the_narrowest_filters_leave_the_likeliest(params: SamplingParams) -> None:
    assert logits_to_probs(LOGITS[None], params).tolist() == [[1, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("temperature", [0.0, 1e-50, 1e-30, 1.0, 1e30])
def test_every_temperature_gives_probabilities(temperature: float) -> None:
    probabilities = logits_to_probs(torch.tensor([[-1000.0, 2.0, 1000.0]]), SamplingParams(temperature=temperature))
    assert probabilities.sum().item() == pytest.approx(1)
    assert probabilities.isfinite().all()


def test_no_number_reaches_an_id_without_probability() -> None:
    probabilities = torch.tensor([[0.0, 1 / 3, 0.0, 1 / 3, 1 / 3, 0.0]])
    largest = math.nextafter(1.0, 0.0) - 2**-24  # of what a generator gives in float32
    for number, chosen in ((0.0, 1), (0.34, 3), (0.5, 3), (0.67, 4), (largest, 4)):
        assert sample_next_token(probabilities, torch.tensor([[number]])).item() == chosen


def test_each_row_has_numbers_of_its_own_seed() -> None:
    together = torch.stack(list(islice(uniforms([3, 4, 5], CPU), 600)))
    for column, seed in enumerate([3, 4, 5]):
        alone = torch.cat(list(islice(uniforms([seed], CPU), 600)))
        assert torch.equal(together[:, column], alone)
    assert ((together >= 0) & (together < 1)).all()
    assert together.unique().numel() > 1700
