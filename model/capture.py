"""What every head of a decoder looks at, by an extra forward pass that leaves the training path alone."""

from torch import Tensor

from model.decoder import Decoder, inference


def attention_maps(decoder: Decoder, ids: Tensor) -> list[Tensor]:
    """The attention weights of each layer for one sequence of ids (T,): a list of (H, T, T), in evaluation mode."""
    with inference(decoder):
        x = decoder.embed(ids[None])  # (1, T, C)
        maps = []
        for block in decoder.blocks:
            maps.append(block.attention.weights(block.attention_norm(x))[0])
            x = block(x)
    return maps
