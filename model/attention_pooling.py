"""Attention pooling: weighted means of values, with explicit weights or a fused kernel that never forms them.

All masks are lengths: a query attends to the first `valid_lens` keys. Causal attention gives query i the length i + 1,
padding gives all queries of a sequence its true length.
"""

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from model.position import Positions, RotaryPosition
from model.scoring import Additive, DotProduct, InnerProduct, Mean, Scoring

EXPLICIT_LONGEST = 512  # context up to which a CPU forms weights in bf16: longer ones take memory (bench/LOG.md)
ADDITIVE_SUMS = 2**20  # elements of the sums that additive attention forms at once: fastest on a CPU (bench/LOG.md)


class LayerCache(Protocol):
    """Keys and values of the tokens that one layer has read so far, and what token shifts need of the last."""

    positions: Positions  # of the current queries
    valid_lens: Tensor | None  # number of keys that each sequence attends to, (B,); None for all

    def update(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store keys and values (B, H, T, D) of the current tokens; return those (B, H, K, D) to attend to."""

    def previous(self, slot: int, x: Tensor) -> Tensor:
        """The vector before each of the current tokens' x (B, T, C), for the token shift of this slot."""

    def keep_last(self, slot: int, x: Tensor) -> None:
        """Store the last of the current tokens' x (B, T, C)."""


def masked_softmax(scores: Tensor, valid_lens: Tensor | None = None) -> Tensor:
    """Softmax over the first `valid_lens` keys of each query, exact zeros beyond; a length of 0 gives a row of zeros.

    scores: (B, ..., Q, K). valid_lens: None for all keys, (B,) or (B, Q). Raises ValueError for other shapes.
    Zhang et al. 2023, Dive into Deep Learning, section 11.3.2.1.
    """
    if valid_lens is None:
        return scores.softmax(-1)
    B, *between, Q, K = scores.shape
    hidden = ~visible_keys(valid_lens, B, Q, K).view(B, *(1 for _ in between), Q, K)
    # The lowest finite number: infinity would make a row without keys, and its gradient, NaN.
    return scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(hidden, 0)


def visible_keys(valid_lens: Tensor, B: int, Q: int, K: int) -> Tensor:
    """Boolean mask (B, Q, K) of the keys each query attends to, for `valid_lens` (B,) or (B, Q)."""
    return torch.arange(K, device=valid_lens.device) < lens_per_query(valid_lens, B, Q)[..., None]


def lens_per_query(valid_lens: Tensor, B: int, Q: int) -> Tensor:
    """`valid_lens` as (B, Q). Raises ValueError unless their shape is (B,) or (B, Q)."""
    if valid_lens.shape not in ((B,), (B, Q)):
        raise ValueError(f"expected valid_lens of shape {(B,)} or {(B, Q)}, got {tuple(valid_lens.shape)}")
    return valid_lens.view(B, -1).expand(B, Q)


def causal_lens(T: int, device: torch.device) -> Tensor:
    """Causal mask as lengths (T,): query i attends to keys 0 ... i."""
    return torch.arange(1, T + 1, device=device)


class AttentionPooling(nn.Module):
    """Queries (B, H, Q, Dq), keys (B, H, K, Dk), values (B, H, K, Dv) -> weighted means of values (B, H, Q, Dv).

    `valid_lens` as in `masked_softmax`. Causal pooling needs as many keys as queries. Dropout applies to the weights,
    in training only. Zhang et al. 2023, Dive into Deep Learning, section 11.1.
    """

    def __init__(
        self,
        scoring: Scoring | None = None,
        *,
        rotary: RotaryPosition | None = None,
        causal: bool = True,
        dropout: float = 0.0,
    ) -> None:
        """`scoring` defaults to the scaled dot product. Raises ValueError for dropout with a mean."""
        super().__init__()
        self.scoring = scoring or DotProduct()
        if dropout and not self.scoring.uses_query_key:
            raise ValueError(f"expected no dropout with a mean, which forms no weights to drop, got {dropout}")
        self.rotary = rotary
        self.causal = causal
        self.dropout = dropout

    def weights(self, query: Tensor, key: Tensor, valid_lens: Tensor | None = None) -> Tensor:
        """Attention weights before dropout, (B, H, Q, K): every row sums to one, or is zeros."""
        query, key = self.rotated(query, key)
        return masked_softmax(self.scoring.scores(query, key), self._lens(query, valid_lens, self.causal))

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        valid_lens: Tensor | None = None,
        layer_cache: LayerCache | None = None,
    ) -> Tensor:
        """`dropout(weights(query, key)) @ value` by the cheapest way that is exact to the precision in use.

        With a `layer_cache`, a single query attends to the first `valid_lens` of the cached keys.
        """
        explicit = layer_cache is None and self._explicit_is_faster(query, key, value, valid_lens)
        if value.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                if explicit:
                    return self(query, key, value)
                # On CPUs the fused kernel's backward pass is several times slower in bf16 than in fp32.
                return self(query.float(), key.float(), value.float(), valid_lens, layer_cache).type_as(value)
        if key.shape[2] != value.shape[2]:  # the fused kernel would read beyond the values
            raise ValueError(f"expected as many values as keys, got {value.shape[2]} and {key.shape[2]}")
        query, key = self.rotated(query, key, layer_cache.positions if layer_cache else None)
        causal = self.causal
        if layer_cache:
            key, value = layer_cache.update(key, value)
            causal = causal and query.shape[2] > 1  # all cached keys precede a single query
        dropout = self.dropout if self.training else 0.0
        match self.scoring:
            case DotProduct() if explicit:
                return explicit_causal(query, key, value, self.scoring.scale_for(key), dropout)
            case InnerProduct():
                left, right = self.scoring.factors(query, key)
                plain = causal and valid_lens is None
                lens = None if plain else self._lens(query, valid_lens, causal)
                return fused(left, right, value, self.scoring.scale_for(key), lens, plain, dropout)
            case Additive():
                lens = self._lens(query, valid_lens, causal)
                return in_blocks(self.scoring, query, key, value, lens, causal, dropout)
            case Mean():
                return running_mean(value, self._lens(query, valid_lens, causal), query.shape[2])
        raise TypeError(f"no way to pool values by {type(self.scoring).__name__}")

    def _explicit_is_faster(self, query: Tensor, key: Tensor, value: Tensor, valid_lens: Tensor | None) -> bool:
        """Whether to form the weights: in bf16 on a CPU, for causal dot products in short contexts."""
        plain = isinstance(self.scoring, DotProduct) and self.causal and valid_lens is None
        in_bf16 = all(x.device.type == "cpu" and x.dtype == torch.bfloat16 for x in (query, key, value))
        return plain and in_bf16 and key.shape[2] <= EXPLICIT_LONGEST

    def rotated(self, query: Tensor, key: Tensor, positions: Positions | None = None) -> tuple[Tensor, Tensor]:
        """Queries and keys as the scoring gets them: turned by their positions where these are rotary."""
        if self.causal and query.shape[2] != key.shape[2]:
            got = f"{key.shape[2]} and {query.shape[2]}"
            raise ValueError(f"expected as many keys as queries in causal attention, got {got}")
        if self.rotary is None or not self.scoring.uses_query_key:
            return query, key
        if query.shape != key.shape:
            return self.rotary(query, positions), self.rotary(key, positions)
        query, key = self.rotary(torch.stack((query, key)), positions).unbind()  # half as many operations
        return query, key

    def _lens(self, query: Tensor, valid_lens: Tensor | None, causal: bool) -> Tensor | None:
        """Number of keys each query attends to, (B, Q); None for all."""
        B, Q = len(query), query.shape[2]
        lens = None if valid_lens is None else lens_per_query(valid_lens, B, Q)
        if not causal:
            return lens
        own = causal_lens(Q, query.device).expand(B, Q)
        return own if lens is None else torch.minimum(own, lens)


def fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    valid_lens: Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
) -> Tensor:
    """`dropout(masked_softmax(scale query key^T, valid_lens)) @ value` by PyTorch's fused kernels.

    At most one of `causal` and `valid_lens`; the flag is faster than a mask.
    """
    size, value_size = query.shape[-1], value.shape[-1]
    # The fastest kernels need one size for all three, on GPUs a multiple of eight. Zero padding changes nothing.
    if size != value_size:
        multiple = 8 if query.is_cuda else 1
        common = -(-max(size, value_size) // multiple) * multiple
        query, key = (F.pad(x, (0, common - size)) for x in (query, key))
        value = F.pad(value, (0, common - value_size))
    mask = None
    if valid_lens is not None:
        mask = visible_keys(valid_lens, len(query), query.shape[2], key.shape[2]).unsqueeze(1)  # (B, 1, Q, K)
    pooled = F.scaled_dot_product_attention(query, key, value, mask, dropout, is_causal=causal, scale=scale)
    return pooled if size == value_size else pooled[..., :value_size]


def explicit_causal(query: Tensor, key: Tensor, value: Tensor, scale: float, dropout: float = 0.0) -> Tensor:
    """`fused` for causal attention with explicit weights, in as few passes over them as possible."""
    B, H, T, _ = query.shape
    future = torch.full((T, T), -math.inf, dtype=query.dtype, device=query.device).triu(1)
    scores = torch.baddbmm(future, query.flatten(0, 1), key.flatten(0, 1).mT, alpha=scale)  # (B * H, T, T)
    return (F.dropout(scores.softmax(-1), dropout) @ value.flatten(0, 1)).unflatten(0, (B, H))


def in_blocks(
    scoring: Scoring, query: Tensor, key: Tensor, value: Tensor, valid_lens: Tensor | None, causal: bool, dropout: float
) -> Tensor:
    """`dropout(masked_softmax(scores, valid_lens)) @ value` in blocks of queries; `valid_lens` None or (B, Q).

    No tensor has more than max(ADDITIVE_SUMS, B * H * K * D) elements, for any number of queries, in the backward pass
    as well: it recomputes each block (activation checkpointing, Chen et al. 2016).
    """
    B, H, Q, D = query.shape
    K = key.shape[-2]
    rows = max(1, ADDITIVE_SUMS // (B * H * K * D))

    def block(query: Tensor, key: Tensor, value: Tensor, valid_lens: Tensor | None) -> Tensor:
        weights = masked_softmax(scoring.scores(query, key), valid_lens)
        return F.dropout(weights, dropout) @ value

    pooled = []
    for start in range(0, Q, rows):
        stop = min(start + rows, Q)
        seen = stop if causal else K  # keys that any query of the block attends to
        lens = None if valid_lens is None else valid_lens[:, start:stop]
        inputs = query[:, :, start:stop], key[:, :, :seen], value[:, :, :seen], lens
        if torch.is_grad_enabled():
            pooled.append(checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=dropout > 0))
        else:  # checkpoint imports torch._dynamo, which takes as long as importing torch
            pooled.append(block(*inputs))
    return torch.cat(pooled, dim=2)


def running_mean(value: Tensor, valid_lens: Tensor | None, queries: int) -> Tensor:
    """Mean of the first `valid_lens` (B, Q) values, or of all; zeros for none. Forms no weights."""
    B, H, K, D = value.shape
    if valid_lens is None:
        return value.mean(2, keepdim=True).expand(-1, -1, queries, -1)
    sums = F.pad(value.cumsum(2), (0, 0, 1, 0))  # of the first 0, 1, ..., K values, (B, H, K + 1, D)
    lens = valid_lens.clamp(0, K)[:, None, :, None].expand(B, H, queries, D)
    return sums.gather(2, lens) / lens.clamp(min=1)
