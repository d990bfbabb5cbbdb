"""How a query scores a key: the functions of the textbooks, as definitions.

`scores` takes queries (B, H, Q, Dq) and keys (B, H, K, Dk) to scores (B, H, Q, K), which a softmax over the keys makes
weights. What adds the same to every key of a query is free to be left out: the softmax does not see it. How
values are weighted without ever forming scores is the matter of model/pooling.py.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import ScoringKind


class Scoring(nn.Module):
    """The base of all: a score for every pair of a query and a key."""

    uses_query_key = True  # whether scores depend on queries and keys at all

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        raise NotImplementedError


class InnerProduct(Scoring):
    """The base of those whose softmax is that of an inner product, which the fused kernels compute."""

    def __init__(self, scale: float | None = None) -> None:
        """`scale` multiplies the scores: by default 1 / sqrt(D), which gives them unit variance if q and k have it."""
        super().__init__()
        self.scale = scale

    def factors(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """q' (B, H, Q, D') and k' (B, H, K, D') with softmax(scores) = softmax(scale q' k'^T)."""
        check_sizes(query, key)
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
        heads, query_size, key_size = self.matrix.shape
        check_shape("queries", query, heads, query_size)
        check_shape("keys", key, heads, key_size)
        return query @ self.matrix, key


class Distance(InnerProduct):
    """-|q - k|^2 / 2 / sqrt(D), up to the query's own norm: the softmax is a Gaussian kernel around the query.

    -|q - k|^2 / 2 = q.k - |k|^2 / 2 - |q|^2 / 2, whose last term is the same for every key: only the norms of the keys
    are needed, as one more column. Digits are lost where keys are much longer than they are apart, the more so in bf16
    (Zhang et al. 2023, Dive into Deep Learning, section 11.3.1 and its exercise 1).
    """

    def factors(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        check_sizes(query, key)
        norm = key.square().sum(-1, keepdim=True)
        return F.pad(query, (0, 1), value=1.0), torch.cat((key, -norm / 2), dim=-1)


class Additive(Scoring):
    """w.tanh(q + k), with a learned w for each head (Bahdanau et al. 2015, appendix A.1.2).

    In full w.tanh(W_q q + W_k k): the two matrices are the projections that make queries and keys of their inputs, so
    inputs of different sizes meet in one. Takes time and, left to itself, memory in B * H * Q * K * D.
    """

    def __init__(self, heads: int, size: int) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.empty(heads, size))
        self.initialise()

    def initialise(self, generator: torch.Generator | None = None) -> None:
        nn.init.normal_(self.vector, std=self.vector.shape[1] ** -0.5, generator=generator)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        check_shape("queries", query, *self.vector.shape)
        check_shape("keys", key, *self.vector.shape)
        sums = query.unsqueeze(-2) + key.unsqueeze(-3)  # (B, H, Q, K, D)
        return torch.einsum("bhqkd,hd->bhqk", sums.tanh(), self.vector)


class Mean(Scoring):
    """Every key alike, so that the result is the mean of the values: attention that cannot choose."""

    uses_query_key = False

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query.new_zeros(*query.shape[:-1], key.shape[-2])


def check_sizes(query: Tensor, key: Tensor) -> None:
    """Raise ValueError unless queries and keys are of one size."""
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(f"expected queries and keys of one size, got {query.shape[-1]} and {key.shape[-1]}")


def check_shape(name: str, x: Tensor, heads: int, size: int) -> None:
    """Raise ValueError unless `x` (B, H, T, D) has as many heads and columns as the parameters."""
    if (x.shape[1], x.shape[3]) != (heads, size):
        raise ValueError(f"expected {name} of {heads} heads of size {size}, got {x.shape[1]} of size {x.shape[3]}")


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
