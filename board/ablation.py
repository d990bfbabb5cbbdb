"""Ablation: the rise of the loss when a head is switched off."""

import torch
from torch import Tensor
from torch.nn import functional as F

from model.decoder import Decoder, inference

ELEMENTS = 2**22  # of the largest tensor in a forward pass: bounds its memory, and is fastest on a CPU


def ablation(decoder: Decoder, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Rise of the mean loss, in nats/char, when the output of one head is set to zero: (N,), layer by layer.

    Zero ablation: the mask of this head is 0, all weights stay (Michel et al. 2019, section 2.2). `ids` (B, T), padded
    at the end where `lengths` (B,) are given. Every character but the first of each sequence is scored; NaN if there is
    none. In fp32: rounding to bf16 moves a rise by up to 0.004 on 64 characters, more than some heads do.
    """
    B, T = ids.shape
    config, N = decoder.config, decoder.config.all_heads()
    lengths = torch.full((B,), T, device=ids.device) if lengths is None else lengths
    widest = max(decoder.output.out_features, 4 * config.width, config.feed_forward or 0)
    rows = max(2, ELEMENTS // (T * widest))  # in a pass
    heads = min(N, rows - 1)  # one row is the decoder as it is
    several = rows // (1 + heads)
    rises = decoder.embedding.weight.new_zeros(N)
    with inference(decoder), torch.autocast(ids.device.type, enabled=False):
        for some, lens in zip(ids.split(several), lengths.split(several), strict=True):
            for first in range(0, N, heads):
                rises[first : first + heads] += _rises(decoder, some, lens, range(first, min(first + heads, N)))
    return rises / (lengths - 1).sum()


def _rises(decoder: Decoder, ids: Tensor, lengths: Tensor, heads: range) -> Tensor:
    """Rises of the summed loss (n,) of n `heads`.

    The heads are rows of one batch that grows: a head of layer l joins after the attention of layer l, so that nothing
    before it is computed for it again.
    """
    B, number = len(ids), 0
    x = decoder.embed(ids)  # (B + B n, T, C): the whole decoder, then each head that is ablated so far
    for block in decoder.blocks:
        attention = block.attention
        outputs = attention.pooling(*attention.projections(block.attention_norm(x)))  # (B + B n, H, T, D)
        H = outputs.shape[1]
        others = ~torch.eye(H, dtype=torch.bool, device=x.device)[[h for h in range(H) if number + h in heads]]
        number += H
        ablated = (outputs[:B] * others[:, None, :, None, None]).flatten(0, 1)  # (B m, H, T, D) of m more heads
        x = torch.cat((x, x[:B].repeat(len(others), 1, 1))) + attention.combine(torch.cat((outputs, ablated)))
        x = x + block.feed_forward(block.feed_forward_norm(x))
    logits, targets = decoder.logits(x[:, :-1]), ids[:, 1:].repeat(1 + len(heads), 1)
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(1 + len(heads), B, -1)
    scored = torch.arange(1, ids.shape[1], device=ids.device) < lengths[:, None]  # (B, T - 1)
    return ((losses[1:] - losses[0]) * scored).sum((1, 2))
