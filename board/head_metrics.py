"""Head metrics: numbers that say what a head looks at."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from model.decoder import Decoder

STRETCH = 3  # characters that must have occurred before, for induction: chosen in bench/LOG.md
LONGEST_REPEATED = 32  # characters of the random string that measures induction without any text


def all_heads(maps: Sequence[Tensor]) -> Tensor:
    """The maps of each layer (..., H, T, T) as one tensor (..., N, T, T) in fp32, layer by layer."""
    return torch.cat([layer.float() for layer in maps], dim=-3)


def head_metrics(maps: Tensor, ids: Tensor, lens: Tensor | None = None, stretch: int = STRETCH) -> dict[str, Tensor]:
    """Metrics (N,) of N heads: means over queries of their `maps` (B, N, T, T) of `ids` (B, T), padded behind `lens`.

    `even_attention` in place of `maps` gives their chance levels. NaN where no query counts.
    """
    positions = torch.arange(ids.shape[1], device=ids.device)
    valid = positions < (torch.full_like(ids[:, 0], len(positions)) if lens is None else lens)[:, None]  # (B, T)
    later = valid & (positions > 0)  # the first query has one key
    # -sum_j a_ij ln a_ij in nats (Ghader and Monz 2017).
    entropy = (torch.special.entr(maps).sum(-1) * later[:, None]).sum((0, 2)) / later.sum()
    # sum_j a_ij (i - j) in characters (Vig and Belinkov 2019).
    found = {"entropy": entropy, "distance": _mean(maps, positions[:, None] - positions, valid)}
    for name, keys in key_patterns(ids, stretch).items():
        found[name] = _mean(maps, keys, later & keys.any(-1))
    return found


def key_patterns(ids: Tensor, stretch: int = STRETCH) -> dict[str, Tensor]:
    """Masks (T, T) or (B, T, T) of the keys whose weight is a metric, for each query of texts of `ids` (B, T).

    Queries without any do not count.
    """
    positions = torch.arange(ids.shape[1], device=ids.device)
    # Stretches of one character, of two at least: what follows in a run says nothing.
    run = F.pad(repeats(ids, max(1, stretch - 1)).diagonal(-1, 1, 2), (1, 0))  # (B, T)
    return {
        # The character just before (Clark et al. 2019).
        "previous": positions[:, None] - positions == 1,
        # The first character: an attention sink (Xiao et al. 2023), null attention (Vig and Belinkov 2019).
        "first": (positions[:, None] > positions) & (positions == 0),
        # Earlier occurrences of the query's character: duplicate token heads (Wang et al. 2022).
        "duplicate": repeats(ids, 1),
        # What followed where the stretch up to the query occurred before: prefix matching (Olsson et al. 2022).
        "induction": F.pad(repeats(ids, stretch), (1, 0))[..., :-1] & ~run[..., None],
    }


def repeats(ids: Tensor, stretch: int) -> Tensor:
    """Whether the `stretch` characters up to i equal those up to an earlier j: (B, T, T) for ids (B, T)."""
    equal = ids[:, :, None] == ids[:, None]
    found = equal
    for _ in range(stretch - 1):
        found = equal & F.pad(found[:, :-1, :-1], (1, 0, 1, 0))
    return found.tril(-1)


def induction_on_random(repeated: Tensor) -> Tensor:
    """Induction (N,) in the maps (N, 2 L, 2 L) of a string of L distinct characters, read twice; NaN where L is 1."""
    length = repeated.shape[-1] // 2
    # In the second reading a query i attends to the key i - length + 1: what followed its character at first.
    following = repeated.diagonal(1 - length, 1, 2)[:, 1:] if length > 1 else repeated[:, :0, 0]
    return following.mean(-1)


def even_attention(like: Tensor) -> Tensor:
    """Maps (..., 1, T, T) of one head whose queries attend evenly to the keys they see, beside maps (..., N, T, T)."""
    seen = torch.ones_like(like[..., :1, :, :]).tril()
    return seen / seen.sum(-1, keepdim=True)


def _mean(maps: Tensor, keys: Tensor, queries: Tensor) -> Tensor:
    """Sum of `maps` (B, N, T, T) times `keys` (T, T) or (B, T, T), as a mean (N,) over the `queries` (B, T)."""
    # No matrix product, which autocast would round.
    return (maps * (keys * queries[..., None])[:, None]).sum((0, 2, 3)) / queries.sum()


def repeated_string(decoder: Decoder) -> Tensor:
    """Distinct random ids, read twice (2 L,), always the same: only induction predicts the second reading.

    A single id where the context has no room for two.
    """
    vocabulary_size = decoder.embedding.num_embeddings
    length = max(1, min(LONGEST_REPEATED, decoder.config.context // 2, vocabulary_size))
    ids = torch.randperm(vocabulary_size, generator=torch.Generator().manual_seed(0))[:length]
    return ids.repeat(2)[: decoder.config.context].to(decoder.embedding.weight.device)
