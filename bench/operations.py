"""The layers and the attention whose cost is measured: each by its sizes, with the names of the textbooks."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.harness import Step
from model.pooling import AttentionPooling, causal_lens, fused, masked_softmax
from model.scoring import Additive


@dataclass(frozen=True)
class Pass:
    """A forward pass, and the gradients of its result by `leaves` if there are any."""

    forward: Callable[[], Tensor]
    leaves: tuple[Tensor, ...] = ()

    def step(self) -> Step:
        if not self.leaves:
            return torch.no_grad()(self.forward)
        direction = torch.randn_like(self.forward())
        return lambda: torch.autograd.grad(self.forward(), self.leaves, direction)


def convolution(n: int, d: int, k: int) -> Pass:
    """Each position sees itself and the k - 1 before it: (1, n, d) -> (1, n, d)."""
    layer = nn.Conv1d(d, d, k)
    x = torch.randn(1, n, d, requires_grad=True)
    return Pass(lambda: layer(F.pad(x.mT, (k - 1, 0))).mT, (x, *layer.parameters()))


def recurrence(n: int, d: int) -> Pass:
    """One recurrent layer with tanh: (1, n, d) -> (1, n, d)."""
    layer = nn.RNN(d, d, batch_first=True)
    x = torch.randn(1, n, d, requires_grad=True)
    return Pass(lambda: layer(x)[0], (x, *layer.parameters()))


def self_attention(attend: Callable[..., Tensor], n: int, d: int) -> Pass:
    """A sequence to itself, (1, 1, n, d): queries, keys and values are the inputs, without linear layers."""
    inputs = tuple(torch.randn(1, 1, n, d, requires_grad=True) for _ in range(3))
    return Pass(lambda: attend(*inputs), inputs)


def cross_attention(attend: Callable[..., Tensor], Q: int, K: int, D: int, V: int) -> Pass:
    """Q queries to K keys of size D and values of size V: (1, 1, Q, V)."""
    inputs = torch.randn(1, 1, Q, D), torch.randn(1, 1, K, D), torch.randn(1, 1, K, V)
    return Pass(lambda: attend(*inputs))


def explicit(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """Scores and weights are formed. Queries are scaled, as there are fewer numbers in them than in the scores."""
    scores = query * query.shape[-1] ** -0.5 @ key.mT
    lens = causal_lens(query.shape[-2], query.device)[None] if causal else None
    return masked_softmax(scores, lens) @ value


def fused_dot_product(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """The same without forming them; of two sizes D and V the smaller one is padded."""
    return fused(query, key, value, query.shape[-1] ** -0.5, causal=causal)


def additive(Q: int, K: int, D: int, V: int) -> Pass:
    """Additive scores, formed for a few queries at a time."""
    return cross_attention(AttentionPooling(Additive(1, D), causal=False), Q, K, D, V)


OPERATIONS: dict[str, Callable[..., Pass]] = {
    "convolution": convolution,
    "recurrence": recurrence,
    "explicit attention": partial(self_attention, partial(explicit, causal=True)),
    "fused attention": partial(self_attention, partial(fused_dot_product, causal=True)),
    "explicit dot product": partial(cross_attention, partial(explicit, causal=False)),
    "fused dot product": partial(cross_attention, partial(fused_dot_product, causal=False)),
    "additive": additive,
}
