"""Attention itself: values to their weighted means, by weights or, where that is cheaper, without ever forming them.

A query sees the first so many keys and no others. That number, `valid_lens`, says all there is to say: causality lets
query i see i + 1 keys, padding lets every query of a sequence see its true length.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from model.position import Positions, RotaryPosition
from model.scoring import Additive, DotProduct, InnerProduct, Mean, Scoring
from sampling.kv_cache import LayerCache

EXPLICIT_LONGEST = 512  # context up to which a CPU forms weights in bf16: longer ones take layer_cache (bench/LOG.md)
ADDITIVE_SUMS = 2**20  # numbers that additive attention forms at once: the fastest on a CPU (bench/LOG.md)


def masked_softmax(scores: Tensor, valid_lens: Tensor | None = None) -> Tensor:
    """Softmax over the first `valid_lens` keys of each query, exact zeros beyond; nothing to see gives a row of zeros.

    scores: (B, ..., Q, K), which stay as they are. valid_lens: None for all keys, (B,) or (B, Q). Raises ValueError if
    the shapes do not match. Zhang et al. 2023, Dive into Deep Learning, section 11.3.2.1.
    """
    if valid_lens is None:
        return scores.softmax(-1)
    B, *between, Q, K = scores.shape
    visible = visible_keys(valid_lens, B, Q, K)  # (B, 1 or Q, K)
    hidden = ~visible.view(B, *(1 for _ in between), *visible.shape[1:])
    # The lowest finite number, as infinity would make a row without keys, and its gradient, NaN.
    return scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(hidden, 0)


def visible_keys(valid_lens: Tensor, B: int, Q: int, K: int) -> Tensor:
    """Which keys each query sees: booleans, (B, 1, K) for `valid_lens` (B,) and (B, Q, K) for (B, Q)."""
    return torch.arange(K, device=valid_lens.device) < checked_lens(valid_lens, B, Q).view(B, -1, 1)


def checked_lens(valid_lens: Tensor, B: int, Q: int) -> Tensor:
    """`valid_lens` itself, of shape (B,) or (B, Q). Raises ValueError if it is not."""
    if valid_lens.shape not in ((B,), (B, Q)):
        raise ValueError(f"expected valid_lens of shape {(B,)} or {(B, Q)}, got {tuple(valid_lens.shape)}")
    return valid_lens


def causal_lens(T: int, device: torch.device) -> Tensor:
    """The lengths (T,) that let each of T queries see the keys up to its own place."""
    return torch.arange(1, T + 1, device=device)


class AttentionPooling(nn.Module):
    """Values to their weighted means, one for each query: the attention that the blocks put to use.

    Queries (B, H, Q, Dq), keys (B, H, K, Dk) and values (B, H, K, Dv) to (B, H, Q, Dv); `valid_lens` as in
    `masked_softmax`. Causal pooling needs as many keys as queries. Dropout falls on weights and acts in training only.
    """

    def __init__(
        self,
        scoring: Scoring | None = None,
        *,
        rotary: RotaryPosition | None = None,
        causal: bool = True,
        dropout: float = 0.0,
    ) -> None:
        """`scoring`: by default the scaled dot product. Raises ValueError for dropout with a mean."""
        super().__init__()
        self.scoring = scoring or DotProduct()
        if dropout and not self.scoring.uses_query_key:
            raise ValueError(f"expected no dropout with a mean, which forms no weights to drop, got {dropout}")
        self.rotary = rotary
        self.causal = causal
        self.dropout = dropout

    def weights(self, query: Tensor, key: Tensor, valid_lens: Tensor | None = None) -> Tensor:
        """The weights that `forward` applies, before dropout: (B, H, Q, K); every row sums to one, or is zeros."""
        query, key = self._placed(query, key)
        return masked_softmax(self.scoring.scores(query, key), self._lens(query, valid_lens, self.causal))

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        valid_lens: Tensor | None = None,
        layer_cache: LayerCache | None = None,
    ) -> Tensor:
        """`dropout(weights(query, key)) @ value`, in the cheapest way that is exact to the precision in use.

        A `layer_cache` takes in keys and values, and a single query looks at all that it holds, `valid_lens` of them.
        """
        explicit = layer_cache is None and self._explicit_is_faster(query, key, value, valid_lens)
        if value.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                if explicit:
                    return self(query, key, value)
                # On CPUs the fused kernel's backward pass is several times slower in bf16 than in fp32.
                return self(query.float(), key.float(), value.float(), valid_lens, layer_cache).type_as(value)
        if key.shape[2] != value.shape[2]:
            raise ValueError(f"expected as many values as keys, got {value.shape[2]} and {key.shape[2]}")
        query, key = self._placed(query, key, layer_cache.reading.positions if layer_cache else None)
        causal = self.causal
        if layer_cache:
            key, value = layer_cache.extend(key, value)
            causal = causal and query.shape[2] > 1  # what is remembered came before
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
        """Whether a CPU is to form the weights, in bf16: for plain causal dot products in short contexts."""
        plain = isinstance(self.scoring, DotProduct) and self.causal and valid_lens is None
        in_bf16 = all(x.device.type == "cpu" and x.dtype == torch.bfloat16 for x in (query, key, value))
        return plain and in_bf16 and key.shape[2] <= EXPLICIT_LONGEST

    def _placed(self, query: Tensor, key: Tensor, positions: Positions | None = None) -> tuple[Tensor, Tensor]:
        if self.causal and query.shape[2] != key.shape[2]:
            got = f"{key.shape[2]} and {query.shape[2]}"
            raise ValueError(f"expected as many keys as queries in causal attention, got {got}")
        if self.rotary is None or not self.scoring.uses_query_key:
            return query, key
        if query.shape != key.shape:
            return self.rotary(query, positions), self.rotary(key, positions)
        turned = self.rotary(torch.stack((query, key)), positions)  # half as many operations
        return turned[0], turned[1]

    def _lens(self, query: Tensor, valid_lens: Tensor | None, causal: bool) -> Tensor | None:
        """How many keys each query sees, (B, Q); None for all."""
        B, Q = len(query), query.shape[2]
        lens = None if valid_lens is None else checked_lens(valid_lens, B, Q).view(B, -1).expand(B, Q)
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
    """`dropout(masked_softmax(scale query key^T, valid_lens)) @ value` by the kernel that never forms the weights.

    Of `causal` and `valid_lens` at most one; causality alone is faster as a flag.
    """
    sizes = query.shape[-1], key.shape[-1], value.shape[-1]
    # The fastest kernels want one size for all three, on GPUs a multiple of eight. Columns of zeros change nothing.
    alike = len(set(sizes)) == 1
    if not alike:
        multiple = 8 if query.is_cuda else 1
        common = -(-max(sizes) // multiple) * multiple
        query, key, value = (F.pad(x, (0, common - x.shape[-1])) for x in (query, key, value))
    mask = None
    if valid_lens is not None:
        mask = visible_keys(valid_lens, len(query), query.shape[2], key.shape[2]).unsqueeze(1)  # (B, 1, 1 or Q, K)
    pooled = F.scaled_dot_product_attention(query, key, value, mask, dropout, is_causal=causal, scale=scale)
    return pooled if alike else pooled[..., : sizes[2]]


def explicit_causal(query: Tensor, key: Tensor, value: Tensor, scale: float, dropout: float = 0.0) -> Tensor:
    """`fused` for causal attention, by weights formed with as few passes over them as there can be."""
    B, H, T, _ = query.shape
    future = torch.full((T, T), -math.inf, dtype=query.dtype, device=query.device).triu(1)
    scores = torch.baddbmm(future, query.flatten(0, 1), key.flatten(0, 1).mT, alpha=scale)  # (B * H, T, T)
    return (F.dropout(scores.softmax(-1), dropout) @ value.flatten(0, 1)).unflatten(0, (B, H))


def in_blocks(
    scoring: Scoring,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    valid_lens: Tensor | None,
    causal: bool,
    dropout: float,
) -> Tensor:
    """`dropout(masked_softmax(scores, valid_lens)) @ value`, a few queries at a time; `valid_lens` None or (B, Q).

    No tensor gets larger than max(ADDITIVE_SUMS, B * H * K * D) numbers, however many queries there are: a block is as
    many queries as fit, at least one. Two or three such tensors are alive at once. The backward pass forms each block's
    sums anew instead of keeping them, so the same bound holds there.
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
        seen = stop if causal else K  # by any query of the block
        lens = None if valid_lens is None else valid_lens[:, start:stop]
        inputs = query[:, :, start:stop], key[:, :, :seen], value[:, :, :seen], lens
        if torch.is_grad_enabled():
            pooled.append(checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=dropout > 0))
        else:  # checkpoint would import torch's compiler, which takes as long as importing torch
            pooled.append(block(*inputs))
    return torch.cat(pooled, dim=2)


def running_mean(value: Tensor, valid_lens: Tensor | None, queries: int) -> Tensor:
    """The mean of the first `valid_lens` (B, Q) values, or of all; zeros for none. No weight is formed."""
    B, H, K, D = value.shape
    if valid_lens is None:
        return value.mean(2, keepdim=True).expand(-1, -1, queries, -1)
    sums = F.pad(value.cumsum(2), (0, 0, 1, 0))  # of the first 0, 1, ..., K values: (B, H, K + 1, D)
    lens = valid_lens.clamp(0, K)[:, None, :, None].expand(B, H, queries, D)
    return sums.gather(2, lens) / lens.clamp(min=1)
