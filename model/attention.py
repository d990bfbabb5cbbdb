"""Causal self-attention: the weights, their application, and the two blocks that are built from them.

Training runs the fused kernel, which never forms the weights; `attention_weights` forms them for those who look.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def attention_weights(query: Tensor, key: Tensor) -> Tensor:
    """softmax(query key^T / sqrt(D)) over the positions up to each query's own (Vaswani et al. 2017, eq. 1).

    query, key: (B, H, T, D). Returns (B, H, T, T): rows are queries, columns are keys, every row sums to one.
    """
    T, D = query.shape[-2:]
    scores = query @ key.transpose(-2, -1) / math.sqrt(D)  # (B, H, T, T)
    future = torch.ones(T, T, dtype=torch.bool, device=query.device).triu(1)
    return scores.masked_fill(future, -math.inf).softmax(dim=-1)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`attention_weights(query, key) @ value` by the fused kernel. All, and the result: (B, H, T, D)."""
    if query.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        # On CPUs the kernel's backward pass is several times slower in bf16 than in fp32.
        with torch.autocast("cpu", enabled=False):
            fused = F.scaled_dot_product_attention(query.float(), key.float(), value.float(), is_causal=True)
            return fused.to(query.dtype)
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)


class SingleHeadAttention(nn.Module):
    """One causal head: query, key and value without bias, and nothing after it."""

    def __init__(self, width: int, head_size: int) -> None:
        super().__init__()
        self.key = nn.Linear(width, head_size, bias=False)
        self.query = nn.Linear(width, head_size, bias=False)
        self.value = nn.Linear(width, head_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, D)."""
        query, key, value = (project(x).unsqueeze(1) for project in (self.query, self.key, self.value))
        return attend(query, key, value).squeeze(1)  # (B, 1, T, D) -> (B, T, D)

    def weights(self, x: Tensor) -> Tensor:
        """The attention weights for input (B, T, C): (B, 1, T, T)."""
        return attention_weights(self.query(x).unsqueeze(1), self.key(x).unsqueeze(1))

    def residual_projection(self) -> nn.Linear:
        """The last linear map before the sum with the residual stream."""
        return self.value


class MultiHeadAttention(nn.Module):
    """`heads` causal heads of size C / heads as one batched product, then an output projection."""

    def __init__(self, width: int, heads: int, bias: bool = False) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"expected heads to divide the width of {width}, got {heads}")
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width, bias=bias)  # three maps in one product
        self.output = nn.Linear(width, width, bias=bias)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        B, T, C = x.shape
        query, key, value = (
            self.query_key_value(x)  # (B, T, 3C)
            .view(B, T, 3, self.heads, C // self.heads)
            .permute(2, 0, 3, 1, 4)  # (3, B, H, T, D)
        )
        return query, key, value

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        heads = attend(*self._split(x))  # (B, H, T, D)
        return self.output(heads.transpose(1, 2).flatten(2))  # (B, T, H, D) -> (B, T, C)

    def weights(self, x: Tensor) -> Tensor:
        """The attention weights for input (B, T, C): (B, H, T, T)."""
        query, key, _ = self._split(x)
        return attention_weights(query, key)

    def residual_projection(self) -> nn.Linear:
        """The last linear map before the sum with the residual stream."""
        return self.output
