"""Head metrics: numbers that say what a head looks at."""

from collections.abc import Sequence

import torch
from torch import Tensor

from model.decoder import Decoder

LONGEST_REPEATED = 32  # characters of the random string that measures induction


def all_heads(maps: Sequence[Tensor]) -> Tensor:
    """The maps of each layer (..., H, T, T) as one tensor (..., N, T, T) in fp32, layer by layer."""
    return torch.cat([layer.float() for layer in maps], dim=-3)


def head_metrics(maps: Tensor, repeated: Tensor) -> dict[str, Tensor]:
    """Metrics (N,) of N heads: means over the queries i of their `maps` a_ij (N, T, T); NaN where T is too short.

    `repeated`: their maps of a string of L characters read twice (N, 2 L, 2 L), which measure induction.
    """
    positions = torch.arange(maps.shape[-1], device=maps.device)
    back = positions[:, None] - positions  # (T, T)
    length = repeated.shape[-1] // 2
    # In the second reading a query i attends to the key i - length + 1: what followed its character at first.
    following = repeated.diagonal(1 - length, 1, 2)[:, 1:] if length > 1 else repeated[:, :0, 0]
    return {
        # -sum_j a_ij ln a_ij in nats, without the first query, which has one key (Ghader and Monz 2017).
        "entropy": torch.special.entr(maps[:, 1:]).sum(-1).mean(-1),
        # sum_j a_ij (i - j) in characters (Vig and Belinkov 2019); no matrix product, which autocast would round.
        "distance": (maps * back).sum(-1).mean(-1),
        # Weight of the character just before (Clark et al. 2019).
        "previous": maps.diagonal(-1, 1, 2).mean(-1),
        # Weight of the first character: an attention sink (Xiao et al. 2023), null attention (Vig and Belinkov 2019).
        "first": maps[:, 1:, 0].mean(-1),
        # The prefix matching score of Olsson et al. 2022.
        "induction": following.mean(-1),
    }


def repeated_string(decoder: Decoder) -> Tensor:
    """Distinct random ids, read twice (2 L,), always the same: only induction predicts the second reading.

    A single id where the context has no room for two.
    """
    vocabulary_size = decoder.embedding.num_embeddings
    length = max(1, min(LONGEST_REPEATED, decoder.config.context // 2, vocabulary_size))
    ids = torch.randperm(vocabulary_size, generator=torch.Generator().manual_seed(0))[:length]
    return ids.repeat(2)[: decoder.config.context].to(decoder.embedding.weight.device)
