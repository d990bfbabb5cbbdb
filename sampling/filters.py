"""Which id comes next: from logits to the probabilities that are drawn from, and from those to an id."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

AHEAD = 256  # numbers that each generator draws at once


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How the next id is chosen. Each filter works on what those before it have left, in this order."""

    temperature: float = 1.0  # divides the logits; 0: always the likeliest
    top_k: int | None = None  # the k likeliest only
    top_p: float | None = None  # the fewest likeliest that together have at least this probability
    min_p: float | None = None  # those at least this share of the likeliest's probability as likely

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits (B, V) to the probabilities that are drawn from, of the same shape, in float32.

        top_p: Holtzman et al. 2020, section 3.1. min_p: Nguyen et al. 2024, section 3.
        """
        logits = logits.float()
        if self.temperature < torch.finfo(torch.float32).tiny:  # as good as zero, and not to be divided by
            return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)
        # The largest logit becomes zero first: dividing by a tiny temperature cannot overflow to infinity there.
        logits = (logits - logits.amax(-1, keepdim=True)) / self.temperature
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            likeliest = logits.topk(self.top_k, dim=-1)
            logits = torch.full_like(logits, -torch.inf).scatter_(-1, likeliest.indices, likeliest.values)
        probabilities = logits.softmax(-1)
        if self.top_p is not None and self.top_p < 1:
            ordered, places = probabilities.double().sort(dim=-1, descending=True, stable=True)
            before = ordered.cumsum(-1) - ordered  # what the likelier ones have together
            probabilities = probabilities.masked_fill((before >= self.top_p).gather(-1, places.argsort(-1)), 0)
        if self.min_p is not None:
            least = self.min_p * probabilities.amax(-1, keepdim=True)
            probabilities = probabilities.masked_fill(probabilities < least, 0)
        return probabilities / probabilities.sum(-1, keepdim=True)


def sample_next_token(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """One id for each row of probabilities (B, V) by its number in [0, 1), float32 (B,): ids (B,).

    An id is chosen where the number falls into its share of [0, 1). In float64 no rounding can reach beyond the last
    share, or hand one to an id without probability.
    """
    shares = probabilities.double().cumsum(-1)
    return (shares <= uniform[:, None].double() * shares[:, -1:]).sum(-1)


def uniforms(seeds: Sequence[int], device: torch.device) -> Iterator[Tensor]:
    """Yield, without end, a number in [0, 1) for each seed, float32 (B,), each from a generator of its own."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    while True:
        yield from torch.stack([torch.rand(AHEAD, generator=own) for own in generators], dim=1).to(device)
