"""What every head of a decoder looks at and what it does, by a forward pass that leaves the training path alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.decoder import Decoder, inference

LONGEST_REPEATED = 32  # characters of the random string on which induction is measured


@dataclass(frozen=True)
class Capture:
    """One forward pass over B sequences of T characters."""

    maps: list[Tensor]  # the attention weights of each layer: (B, H, T, T)
    logits: Tensor  # (B, T, V) of the character after each


def capture(decoder: Decoder, ids: Tensor) -> Capture:
    """Read ids (B, T) in evaluation mode."""
    with inference(decoder):
        x, maps = decoder.embed(ids), []
        for block in decoder.blocks:
            maps.append(block.attention.weights(block.attention_norm(x)))
            x = block(x)
        return Capture(maps, decoder.logits(x))


def attention_maps(decoder: Decoder, ids: Tensor) -> list[Tensor]:
    """The attention weights of each layer for one sequence of ids (T,): a list of (H, T, T), in evaluation mode."""
    return [layer[0] for layer in capture(decoder, ids[None]).maps]


def all_heads(maps: Sequence[Tensor]) -> Tensor:
    """Those of each layer (..., H, T, T) as one: (..., N, T, T) in fp32, the heads of all layers counted through."""
    return torch.cat([layer.float() for layer in maps], dim=-3)


# What a head does, in one number each: maps (N, T, T) -> (N,). NaN where T is too short to tell.


def entropy(maps: Tensor) -> Tensor:
    """How widely a head looks: -sum_j a_ij ln a_ij in nats (Ghader and Monz 2017).

    The mean over all queries i but the first, which has no choice.
    """
    return torch.special.entr(maps[:, 1:]).sum(-1).mean(-1)


def distance(maps: Tensor) -> Tensor:
    """How far back a head looks, in characters: sum_j a_ij (i - j), the mean over all i (Vig and Belinkov 2019)."""
    places = torch.arange(maps.shape[-1], device=maps.device)
    back = places[:, None] - places  # (T, T); no product of matrices, which autocast would round
    return (maps * back).sum(-1).mean(-1)


def previous_character(maps: Tensor) -> Tensor:
    """The weight of the character just before, the mean over all queries that have one (Clark et al. 2019)."""
    return maps.diagonal(-1, 1, 2).mean(-1)


def first_character(maps: Tensor) -> Tensor:
    """The weight of the first character, the mean over all other queries.

    Heads look there that have nothing to say: null attention in Vig and Belinkov 2019, a sink in Xiao et al. 2023.
    """
    return maps[:, 1:, 0].mean(-1)


def induction(maps: Tensor) -> Tensor:
    """For a string of T / 2 characters read twice: the weight of what followed a character when it was read first.

    The mean over the second reading, after the prefix matching score of Olsson et al. 2022.
    """
    length = maps.shape[-1] // 2
    if length < 2:
        return maps.new_full((len(maps),), torch.nan)
    return maps.diagonal(1 - length, 1, 2)[:, 1:].mean(-1)  # a query i >= length, the key i - length + 1


def repeated_string(decoder: Decoder) -> Tensor:
    """Random ids, each once, and all of them again: a text in which nothing but induction predicts. Always the same.

    (2 L,), or a single id where the context has no room for two.
    """
    vocabulary_size = decoder.embedding.num_embeddings
    length = max(1, min(LONGEST_REPEATED, decoder.config.context // 2, vocabulary_size))
    ids = torch.randperm(vocabulary_size, generator=torch.Generator().manual_seed(0))[:length]
    return ids.repeat(2)[: decoder.config.context].to(decoder.embedding.weight.device)


def head_metrics(maps: Tensor, repeated: Tensor) -> dict[str, Tensor]:
    """All of the above for heads that made `maps` (N, T, T) of a text and `repeated` of the repeated string."""
    return {
        "entropy": entropy(maps),
        "distance": distance(maps),
        "previous": previous_character(maps),
        "first": first_character(maps),
        "induction": induction(repeated),
    }
