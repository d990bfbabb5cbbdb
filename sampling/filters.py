"""From logits to the next token: temperature, top-k, top-p and min-p, then a draw from the distribution."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

DRAW = 256  # random numbers that each generator draws at once


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """Sampling parameters. Each filter works on what those before it leave, in this order."""

    temperature: float = 1.0  # divides the logits; 0: always the likeliest token
    top_k: int | None = None  # keep the k likeliest tokens
    top_p: float | None = None  # keep the fewest likeliest tokens whose probabilities sum to at least this
    min_p: float | None = None  # keep tokens at least this fraction as likely as the likeliest


def logits_to_probs(logits: Tensor, params: SamplingParams) -> Tensor:
    """Logits (B, V) -> probabilities (B, V) to draw from, in float64.

    Top-p: Holtzman et al. 2020, section 3.1. Min-p: Nguyen et al. 2024, section 3.
    """
    logits = logits.double()
    if params.temperature < torch.finfo(torch.float32).tiny:  # zero, or too small to divide by
        return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)
    logits = logits / params.temperature  # in float64 it cannot overflow to infinity
    if params.top_k is not None and params.top_k < logits.shape[-1]:
        top = logits.topk(params.top_k, dim=-1)
        logits = torch.full_like(logits, -torch.inf).scatter_(-1, top.indices, top.values)
    if params.top_p is not None and params.top_p < 1:
        probs = logits.softmax(-1)
        ordered, indices = probs.sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered  # total probability of the likelier tokens
        logits = logits.masked_fill((before >= params.top_p).gather(-1, indices.argsort(-1)), -torch.inf)
    if params.min_p is not None:
        probs = logits.softmax(-1)
        logits = logits.masked_fill(probs < params.min_p * probs.amax(-1, keepdim=True), -torch.inf)
    return logits.softmax(-1)


def sample_next_token(probs: Tensor, uniform: Tensor) -> Tensor:
    """Draw a token for each row of probs (B, V) by inverse transform sampling: uniform in [0, 1), (B, 1) -> ids (B,).

    In float64, no rounding reaches past the last token or selects one of probability zero.
    """
    cumulative = probs.cumsum(-1)
    return torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)[:, 0]


def uniforms(seeds: Sequence[int], device: torch.device) -> Iterator[Tensor]:
    """Yield uniform random numbers in [0, 1), float64 (B, 1), without end; each seed has its own generator."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    while True:
        drawn = torch.stack([torch.rand(DRAW, 1, generator=own) for own in generators], dim=1)  # in float32
        yield from drawn.double().to(device)
