"""Factors of attention scores: why a query attends to a key, as a sum of parts."""

import torch
from torch import Tensor

from attention_tab.scores import LayerScores, Scores
from board.capture import capture
from model.decoder import Block, Decoder, inference
from model.scoring import Additive, Bilinear, DotProduct, InnerProduct


def scores_of(decoder: Decoder, ids: Tensor) -> Scores:
    """Queries and keys of every head for one text of ids (T,), as the scoring gets them, in fp32; none for a mean.

    A score is a sum over columns d, but for what is the same for every key of a query: scale q_d k_d of a dot product,
    after rotation, and of a bilinear form, with qM as query; w_d tanh(q_d + k_d) of additive scoring;
    -scale (q_d - k_d)^2 / 2 of a distance, from which the decoder leaves out the query's own norm.

    Layer norm is linear in the stream x given its deviation s. So an encoding p that is added to the embedding makes a
    part of dot products' and bilinear forms' queries and keys: their linear layers, without bias, of (p - mean(p)) / s,
    behind the token shift if there is one.
    """
    config, streams = decoder.config, []
    heads = [config.heads_and_size(kind)[0] for kind in config.attention_kinds()]
    with inference(decoder), torch.autocast(ids.device.type, enabled=False):
        if decoder.blocks[0].attention.pooling.scoring.uses_query_key:
            streams = capture(decoder, ids[None]).streams
        layers = [layer_scores(decoder, *each) for each in zip(decoder.blocks, streams, strict=False)]
    return Scores(str(config.scoring), str(config.position), heads, layers)


def layer_scores(decoder: Decoder, block: Block, x: Tensor) -> LayerScores:
    """Factors of one layer's scores, x (1, T, C) being the stream before it."""
    attention, scoring = block.attention, block.attention.pooling.scoring

    def query_key(normed: Tensor) -> tuple[Tensor, Tensor]:
        query, key = attention.pooling.rotated(*attention.projections(normed)[:2])
        return scoring.factors(query, key) if isinstance(scoring, DotProduct | Bilinear) else (query, key)

    query, key = query_key(block.attention_input(x))
    arrays = {"query": query, "key": key}
    if decoder.position is not None and isinstance(scoring, DotProduct | Bilinear):
        deviation = (x.var(-1, correction=0, keepdim=True) + block.attention_norm.eps).sqrt()
        position = decoder.position.table[: x.shape[1]]
        normed = (position - position.mean(-1, keepdim=True)) / deviation
        if block.attention_shift:
            normed = block.attention_shift(normed)
        parts = zip(query_key(normed), query_key(torch.zeros_like(normed)), strict=True)  # the latter: of the bias
        arrays["query_position"], arrays["key_position"] = (part - bias for part, bias in parts)
    return LayerScores(
        **{name: values[0].cpu().numpy() for name, values in arrays.items()},  # (H, T, D)
        scale=scoring.scale_for(key) if isinstance(scoring, InnerProduct) else 1.0,
        vector=scoring.vector.clone().cpu().numpy() if isinstance(scoring, Additive) else None,
    )
