import math
from collections.abc import Callable
from itertools import islice

import pytest
import torch
from torch import Tensor

from model.choice import Choice, choose_next, uniforms

CPU = torch.device("cpu")
LOGITS = torch.tensor([2.0, 0.5, 1.5, -1.0, 1.0, 0.0, -3.0])
EXACT = LOGITS.double().softmax(0)

# What each filter leaves, by its definition and in float64: (settings, which ids stay, the temperature).
FILTERS: dict[str, tuple[Choice, Callable[[Tensor], Tensor], float]] = {
    "temperature 1": (Choice(), lambda p: p > 0, 1.0),
    "hot": (Choice(temperature=1.7), lambda p: p > 0, 1.7),
    "cold": (Choice(temperature=0.6), lambda p: p > 0, 0.6),
    "top_k": (Choice(top_k=3), lambda p: p >= p.sort(descending=True).values[2], 1.0),
    "top_p": (Choice(top_p=0.7), lambda p: p >= smallest_set(p, 0.7), 1.0),
    "min_p": (Choice(min_p=0.2), lambda p: p >= 0.2 * p.max(), 1.0),
    "top_p when hot": (Choice(temperature=1.5, top_p=0.8), lambda p: p >= smallest_set(p, 0.8), 1.5),
}


def smallest_set(probabilities: Tensor, share: float) -> float:
    """The least probability among the fewest likeliest that have `share` together."""
    together = 0.0
    for probability in sorted(probabilities.tolist(), reverse=True):
        together += probability
        if together >= share:
            return probability
    raise AssertionError


def expected(name: str) -> Tensor:
    _, stays, temperature = FILTERS[name]
    probabilities = (LOGITS.double() / temperature).softmax(0)
    kept = probabilities * stays(probabilities)
    return kept / kept.sum()


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_leaves_what_its_definition_says_in_proportion(name: str) -> None:
    found = FILTERS[name][0].probabilities(LOGITS[None])[0]
    torch.testing.assert_close(found.double(), expected(name), rtol=1e-5, atol=1e-7)
    assert name in ("temperature 1", "hot", "cold") or (found == 0).any()


@pytest.mark.parametrize("name", FILTERS)
def test_ids_are_drawn_as_often_as_they_are_likely(name: str) -> None:
    draws = 20_000
    probabilities = FILTERS[name][0].probabilities(LOGITS[None])
    chance = uniforms([7], CPU)
    drawn = torch.cat([choose_next(probabilities, uniform) for uniform in islice(chance, draws)])
    exact, observed = expected(name), drawn.bincount(minlength=len(LOGITS)) / draws
    assert (observed[exact == 0] == 0).all()
    possible = exact > 0
    statistic = draws * ((observed - exact) ** 2 / exact)[possible].sum().item()
    # Pearson's; the chi-squared distribution's mean and deviation are d and sqrt(2 d): 999 in 1,000 are below this.
    freedom = int(possible.sum()) - 1
    assert statistic < {2: 13.8, 3: 16.3, 4: 18.5, 6: 22.5}[freedom]


def test_filters_work_on_what_those_before_them_left() -> None:
    # Of the two likeliest the first has 0.62, enough for top_p=0.6; of all seven it has but 0.43.
    assert Choice(top_p=0.6).probabilities(LOGITS[None]).count_nonzero() == 2
    assert Choice(top_k=2, top_p=0.6).probabilities(LOGITS[None]).count_nonzero() == 1


@pytest.mark.parametrize("choice", [Choice(top_p=1.0), Choice(top_k=7), Choice(top_k=99), Choice(min_p=1e-9)])
def test_a_filter_that_lets_everything_pass_changes_nothing(choice: Choice) -> None:
    assert torch.equal(choice.probabilities(LOGITS[None]), Choice().probabilities(LOGITS[None]))


@pytest.mark.parametrize("choice", [Choice(temperature=0), Choice(top_k=1), Choice(top_p=1e-9), Choice(min_p=1.0)])
def test_the_narrowest_filters_leave_the_likeliest(choice: Choice) -> None:
    assert choice.probabilities(LOGITS[None]).tolist() == [[1, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("temperature", [0.0, 1e-30, 1.0, 1e30])
def test_every_temperature_gives_probabilities(temperature: float) -> None:
    probabilities = Choice(temperature=temperature).probabilities(torch.tensor([[-1000.0, 2.0, 1000.0]]))
    assert probabilities.sum().item() == pytest.approx(1)
    assert probabilities.isfinite().all()


def test_no_number_reaches_an_id_without_probability() -> None:
    probabilities = torch.tensor([[0.0, 1 / 3, 0.0, 1 / 3, 1 / 3, 0.0]])
    largest = math.nextafter(1.0, 0.0) - 2**-24  # of what a generator gives in float32
    for number, chosen in ((0.0, 1), (0.34, 3), (0.5, 3), (0.67, 4), (largest, 4)):
        assert choose_next(probabilities, torch.tensor([number])).item() == chosen


def test_each_row_has_numbers_of_its_own_seed() -> None:
    together = torch.stack(list(islice(uniforms([3, 4, 5], CPU), 600)))
    for column, seed in enumerate([3, 4, 5]):
        alone = torch.cat(list(islice(uniforms([seed], CPU), 600)))
        assert torch.equal(together[:, column], alone)
    assert ((together >= 0) & (together < 1)).all()
    assert together.unique().numel() > 1700
