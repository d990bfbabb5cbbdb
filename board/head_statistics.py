"""Statistics of a decoder: what every head does in a sample of the text, what it is worth, where it looks."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from attention_tab.statistics import Statistics
from board.capture import capture
from board.head_metrics import all_heads, even_attention, head_metrics
from data.batches import Batch
from model.decoder import Decoder, inference

PLACES = 4  # of each head
ELEMENTS = 2**22  # of the largest tensor in a pass of ablation: bounds its memory, and is fastest on a CPU


def head_statistics(
    decoder: Decoder, sample: Batch, probes: Mapping[str, Sequence[int]], characters: str
) -> Statistics:
    """Metrics and places in the `sample`, ablation over every second sequence of it, as it costs most, and by probe.

    `probes`: ids by name. `characters`: the vocabulary's tokens.
    """
    sample = sample.to(decoder.embedding.weight.device)
    ids = sample.inputs  # (S, T)
    lens = torch.full_like(ids[:, 0], ids.shape[1]) if sample.valid_lens is None else sample.valid_lens
    layers = capture(decoder, ids).maps
    maps = all_heads(layers)  # (S, N, T, T)
    metrics = head_metrics(maps, ids, lens) | {"ablation": ablation(decoder, ids[::2], lens[::2])}
    chance = head_metrics(even_attention(maps), ids, lens)
    texts = {name: torch.as_tensor([probe], device=ids.device) for name, probe in probes.items()}
    places, decisiveness, shown = decided(maps, lens)
    return Statistics(
        heads=[layer.shape[1] for layer in layers],
        sequences=[
            [characters[i] for i in row[:length]] for row, length in zip(ids.tolist(), lens.tolist(), strict=True)
        ],
        metrics={name: values.cpu().numpy() for name, values in metrics.items()},
        chance={name: level.item() for name, level in chance.items()},
        ablations={name: ablation(decoder, text).cpu().numpy() for name, text in texts.items()},
        places=places.cpu().numpy(),
        decisiveness=decisiveness.cpu().numpy(),
        maps=shown.cpu().numpy(),
    )


def decided(maps: Tensor, lens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Places (N, P, 3) where each head looks most decidedly, best first, their decisiveness (N, P), maps (N, P, T, T).

    Of `maps` (S, N, T, T) of sequences of `lens` (S,). A place is a sequence, a query and the key that has most of its
    weight, at most one in a sequence. Decisiveness is the KL divergence from even attention, ln(i + 1) - entropy, nats.
    """
    S, N, T, _ = maps.shape
    positions, heads = (torch.arange(count, device=maps.device) for count in (T, N))
    padding = positions >= lens[:, None]  # (S, T)
    from_even = (positions + 1).log() - torch.special.entr(maps).sum(-1)  # (S, N, T)
    best, queries = from_even.masked_fill(padding[:, None], -torch.inf).max(-1)  # (S, N) each
    decisiveness, sequences = best.T.topk(min(PLACES, S))  # (N, P) each
    queries = queries.T.gather(1, sequences)
    shown = maps[sequences, heads[:, None]].masked_fill(padding[sequences][..., None], 0)
    keys = maps[sequences, heads[:, None], queries].argmax(-1)
    return torch.stack((sequences, queries, keys), -1), decisiveness, shown


def ablation(decoder: Decoder, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Rise of the mean loss, in nats/char, when the output of one head is set to zero: (N,), layer by layer.

    Zero ablation: the mask of this head is 0, all weights stay (Michel et al. 2019, section 2.2). `ids` (B, T), padded
    at the end where `lengths` (B,) are given. Every character but the first of each sequence is scored; NaN if there is
    none. In fp32: rounding to bf16 moves a rise by up to 0.004 on 64 characters, more than some heads do.
    """
    T = ids.shape[1]
    config, N = decoder.config, decoder.config.all_heads()
    lengths = torch.full_like(ids[:, 0], T) if lengths is None else lengths
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
        outputs = attention.pooling(*attention.projections(block.attention_input(x)))  # (B + B n, H, T, D)
        H = outputs.shape[1]
        others = ~torch.eye(H, dtype=torch.bool, device=x.device)[[h for h in range(H) if number + h in heads]]
        number += H
        ablated = (outputs[:B] * others[:, None, :, None, None]).flatten(0, 1)  # (B m, H, T, D) of m more heads
        x = torch.cat((x, x[:B].repeat(len(others), 1, 1))) + attention.combine(torch.cat((outputs, ablated)))
        x = x + block.feed_forward(block.feed_forward_input(x))
    logits, targets = decoder.logits(x[:, :-1]), ids[:, 1:].repeat(1 + len(heads), 1)
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(1 + len(heads), B, -1)
    scored = torch.arange(1, ids.shape[1], device=ids.device) < lengths[:, None]  # (B, T - 1)
    return ((losses[1:] - losses[0]) * scored).sum((1, 2))
