"""Filters by their definitions, in float64 and one probability at a time."""

from collections.abc import Callable

from torch import Tensor

from sampling.filters import SamplingParams

# Parameters, which probabilities stay, and the temperature of these.
FILTERS: dict[str, tuple[SamplingParams, Callable[[Tensor], Tensor], float]] = {
    "temperature 1": (SamplingParams(), lambda p: p > 0, 1.0),
    "hot": (SamplingParams(temperature=1.7), lambda p: p > 0, 1.7),
    "cold": (SamplingParams(temperature=0.6), lambda p: p > 0, 0.6),
    "top_k": (SamplingParams(top_k=3), lambda p: p >= p.sort(descending=True).values[2], 1.0),
    "top_p": (SamplingParams(top_p=0.7), lambda p: p >= least_of_smallest_set(p, 0.7), 1.0),
    "min_p": (SamplingParams(min_p=0.2), lambda p: p >= 0.2 * p.max(), 1.0),
    "top_p when hot": (SamplingParams(temperature=1.5, top_p=0.8), lambda p: p >= least_of_smallest_set(p, 0.8), 1.5),
}
# Pearson's statistic stays below this in 999 of 1,000 cases, by the degrees of freedom.
CRITICAL = {1: 10.8, 2: 13.8, 3: 16.3, 4: 18.5, 5: 20.5, 6: 22.5}


def least_of_smallest_set(probabilities: Tensor, total: float) -> float:
    """The least probability among the fewest likeliest that sum to `total`."""
    so_far = 0.0
    for probability in sorted(probabilities.tolist(), reverse=True):
        so_far += probability
        if so_far >= total:
            return float(probability)
    raise AssertionError


def exact(name: str, logits: Tensor) -> Tensor:
    """The probabilities that a filter must leave of logits (V,)."""
    _, stays, temperature = FILTERS[name]
    probabilities = (logits.double() / temperature).softmax(0)
    filtered = probabilities * stays(probabilities)
    return filtered / filtered.sum()


def assert_drawn_from(drawn: Tensor, probabilities: Tensor) -> None:
    """By Pearson's chi-squared test; what has no probability must not be there at all."""
    possible = probabilities > 0
    counts = drawn.bincount(minlength=len(probabilities))
    assert (counts[~possible] == 0).all()
    expected = len(drawn) * probabilities[possible]
    assert expected.min() >= 5  # or the statistic has another distribution
    statistic = ((counts[possible] - expected) ** 2 / expected).sum().item()
    assert statistic < CRITICAL[int(possible.sum()) - 1]
