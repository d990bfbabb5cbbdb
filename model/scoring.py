"""Attention scoring functions: queries (B, H, Q, Dq) and keys (B, H, K, Dk) -> scores (B, H, Q, K).

Terms that are the same for all keys of a query are left out, as softmax is invariant to them. attention_pooling.py
applies the weights, where it can without forming scores. Zhang et al. 2023, Dive into Deep Learning, section 11.3.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import ScoringKind


class Scoring(nn.Module):
    """Base class: a score for every pair of a query and a key."""

    uses_query_key = True  # whether scores depend on queries and keys

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        raise NotImplementedError


class InnerProduct(Scoring):
    """Base class of scores whose softmax equals that of an inner product, so that fused kernels apply."""

    def __init__(self, scale: float | None = None) -> None:
        """`scale` multiplies the scores; default 1 / sqrt(D), for unit variance if q and k have it.

        Raises ValueError unless it is positive: with others torch's causal kernel for CPUs gives NaN (torch 2.13.0,
        findings/sdpa_cpu_causal_scale_not_positive.sh).
        """
        super().__init__()
        if scale is not None and scale <= 0:
            raise ValueError(f"expected a positive scale, got {scale}")
        self.scale = scale

    def factors(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """q' (B, H, Q, D') and k' (B, H, K, D') with softmax(scores) = softmax(scale q' k'^T)."""
        return query, key

    def scale_for(self, key: Tensor) -> float:
        return 1 / math.sqrt(key.shape[-1]) if self.scale is None else self.scale

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        left, right = self.factors(query, key)
        return left @ right.transpose(-2, -1) * self.scale_for(key)


class DotProduct(InnerProduct):
    """q.k / sqrt(D) (Vaswani et al. 2017, eq. 1)."""


class Bilinear(InnerProduct):
    """q.Mk / sqrt(Dk), with a learned M for each head (Luong et al. 2015, "general"; scaled as the dot product is)."""

    def __init__(self, heads: int, query_size: int, key_size: int, scale: float | None = None) -> None:
        super().__init__(scale)
        self.matrix = nn.Parameter(torch.empty(heads, query_size, key_size))
        self.initialise()

    def initialise(self, generator: torch.Generator | None = None) -> None:
        nn.init.normal_(self.matrix, std=self.matrix.shape[1] ** -0.5, generator=generator)

    def factors(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        return query @ self.matrix, key


class Distance(InnerProduct):
    """-|q - k|^2 / 2 / sqrt(D) without the query's norm: the softmax is a Gaussian kernel around the query.

    -|q - k|^2 / 2 = q.k - |k|^2 / 2 - |q|^2 / 2, whose last term is the same for every key; the keys' norms become
    one more column. Loses digits, in bf16 more, where keys are much longer than the distances between them
    (Zhang et al. 2023, Dive into Deep Learning, section 11.3.1 and its exercise 1).
    """

    def factors(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        norm = key.square().sum(-1, keepdim=True)
        return F.pad(query, (0, 1), value=1.0), torch.cat((key, -norm / 2), dim=-1)


class Additive(Scoring):
    """w.tanh(q + k), with a learned w for each head (Bahdanau et al. 2015, appendix A.1.2).

    In full w.tanh(W_q q + W_k k): the query and key projections are the two matrices. Takes time, and without blocks
    memory, in B * H * Q * K * D.
    """

    def __init__(self, heads: int, size: int) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.empty(heads, size))
        self.initialise()

    def initialise(self, generator: torch.Generator | None = None) -> None:
        nn.init.normal_(self.vector, std=self.vector.shape[1] ** -0.5, generator=generator)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        sums = query.unsqueeze(-2) + key.unsqueeze(-3)  # (B, H, Q, K, D)
        return torch.einsum("bhqkd,hd->bhqk", sums.tanh(), self.vector)


class Mean(Scoring):
    """The same score for every key: the result is the mean of the values."""

    uses_query_key = False

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query.new_zeros(*query.shape[:-1], key.shape[-2])


def make_scoring(kind: ScoringKind, heads: int, head_size: int) -> Scoring:
    match kind:
        case ScoringKind.dot:
            return DotProduct()
        case ScoringKind.additive:
            return Additive(heads, head_size)
        case ScoringKind.bilinear:
            return Bilinear(heads, head_size, head_size)
        case ScoringKind.distance:
            return Distance()
        case ScoringKind.mean:
            return Mean()
