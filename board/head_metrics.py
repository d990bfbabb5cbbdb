"""Attention maps and head metrics, by a forward pass of its own that leaves the training path alone."""

from collections.abc import Sequence

import torch
from torch import Tensor

from model.decoder import Decoder, inference

LONGEST_REPEATED = 32  # characters of the random string that measures induction


def capture(decoder: Decoder, ids: Tensor) -> tuple[list[Tensor], Tensor]:
    """Attention weights (B, H, T, T) of each layer and logits (B, T, V) for ids (B, T), in evaluation mode."""
    with inference(decoder):
        x, maps = decoder.embed(ids), []
        for block in decoder.blocks:
            maps.append(block.attention.weights(block.attention_norm(x)))
            x = block(x)
        return maps, decoder.logits(x)


def attention_maps(decoder: Decoder, ids: Tensor) -> list[Tensor]:
    """Attention weights (H, T, T) of each layer for one sequence of ids (T,), in evaluation mode."""
    return [layer[0] for layer in capture(decoder, ids[None])[0]]


def all_heads(maps: Sequence[Tensor]) -> Tensor:
    """The maps of each layer (..., H, T, T) as one tensor (..., N, T, T) in fp32, layer by layer."""
    return torch.cat([layer.float() for layer in maps], dim=-3)


# Head metrics: maps (N, T, T) -> (N,). NaN where T is too short.


def entropy(maps: Tensor) -> Tensor:
    """-sum_j a_ij ln a_ij in nats, the mean over all queries i but the first, of one key (Ghader and Monz 2017)."""
    return torch.special.entr(maps[:, 1:]).sum(-1).mean(-1)


def distance(maps: Tensor) -> Tensor:
    """sum_j a_ij (i - j) in characters, the mean over all queries i (Vig and Belinkov 2019)."""
    positions = torch.arange(maps.shape[-1], device=maps.device)
    back = positions[:, None] - positions  # (T, T); no matrix product, which autocast would round
    return (maps * back).sum(-1).mean(-1)


def previous_character(maps: Tensor) -> Tensor:
    """Weight of the character just before, the mean over all queries that have one (Clark et al. 2019)."""
    return maps.diagonal(-1, 1, 2).mean(-1)


def first_character(maps: Tensor) -> Tensor:
    """Weight of the first character, the mean over all other queries.

    An attention sink (Xiao et al. 2023), or null attention (Vig and Belinkov 2019).
    """
    return maps[:, 1:, 0].mean(-1)


def induction(maps: Tensor) -> Tensor:
    """On a string of T / 2 characters, repeated: weight of the character after the query's earlier occurrence.

    The mean over the repetition, after the prefix matching score of Olsson et al. 2022.
    """
    length = maps.shape[-1] // 2
    if length < 2:
        return maps.new_full((len(maps),), torch.nan)
    return maps.diagonal(1 - length, 1, 2)[:, 1:].mean(-1)  # a query i >= length, the key i - length + 1


def repeated_string(decoder: Decoder) -> Tensor:
    """Distinct random ids, repeated once (2 L,), always the same: only induction predicts the repetition.

    A single id where the context has no room for two.
    """
    vocabulary_size = decoder.embedding.num_embeddings
    length = max(1, min(LONGEST_REPEATED, decoder.config.context // 2, vocabulary_size))
    ids = torch.randperm(vocabulary_size, generator=torch.Generator().manual_seed(0))[:length]
    return ids.repeat(2)[: decoder.config.context].to(decoder.embedding.weight.device)


def head_metrics(maps: Tensor, repeated: Tensor) -> dict[str, Tensor]:
    """All of the above, of `maps` (N, T, T) of a text; induction of `repeated`, the maps of the repeated string."""
    return {
        "entropy": entropy(maps),
        "distance": distance(maps),
        "previous": previous_character(maps),
        "first": first_character(maps),
        "induction": induction(repeated),
    }
