"""A forward pass of its own for all that the board shows, which leaves the training path alone."""

from typing import NamedTuple

from torch import Tensor

from model.decoder import Decoder, inference


class Capture(NamedTuple):
    """Attention and residual stream of every layer."""

    maps: list[Tensor]  # attention weights (B, H, T, T) of each layer
    values: list[Tensor]  # (B, H, T, D) of each layer
    streams: list[Tensor]  # residual stream (B, T, C): the embedding, then the output of each layer


def capture(decoder: Decoder, ids: Tensor) -> Capture:
    """For ids (B, T), in evaluation mode."""
    with inference(decoder):
        maps, values, streams = [], [], [decoder.embed(ids)]
        for block in decoder.blocks:
            query, key, value = block.attention.projections(block.attention_input(streams[-1]))
            maps.append(block.attention.pooling.weights(query, key))
            values.append(value)
            x = streams[-1] + block.attention.combine(maps[-1] @ value)
            streams.append(x + block.feed_forward(block.feed_forward_input(x)))
        return Capture(maps, values, streams)


def attention_maps(decoder: Decoder, ids: Tensor) -> list[Tensor]:
    """Attention weights (H, T, T) of each layer for one sequence of ids (T,), in evaluation mode."""
    return [layer[0] for layer in capture(decoder, ids[None]).maps]
