"""Statistics of a decoder: what every head does in a sample of the text, what it is worth, where it looks."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from attention_tab.statistics import Statistics
from board.ablation import ablation
from board.capture import capture
from board.head_metrics import all_heads, even_attention, head_metrics
from data.batches import Batch
from model.decoder import Decoder

PLACES = 4  # of each head


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
    texts = {name: torch.as_tensor(probe, device=ids.device)[None] for name, probe in probes.items()}
    places, decisiveness = decided(maps, lens)
    seen = torch.arange(ids.shape[1], device=ids.device) < lens[:, None]  # (S, T)
    heads = torch.arange(maps.shape[1], device=ids.device)[:, None]
    sequences = places[..., 0]  # (N, P)
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
        maps=(maps[sequences, heads] * seen[sequences][..., None]).cpu().numpy(),
    )


def decided(maps: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
    """Places (N, P, 3) where each head looks most decidedly, best first, and their decisiveness (N, P) in nats.

    Of `maps` (S, N, T, T) of sequences of `lens` (S,). A place is a sequence, a query and the key that has most of its
    weight, at most one in a sequence. Decisiveness is the KL divergence from even attention, ln(i + 1) - entropy.
    """
    S, _, T, _ = maps.shape
    positions = torch.arange(T, device=maps.device)
    from_even = (positions + 1).log() - torch.special.entr(maps).sum(-1)  # (S, N, T)
    from_even = from_even.masked_fill((positions >= lens[:, None])[:, None], -torch.inf)
    best, queries = from_even.max(-1)  # (S, N) each
    decisiveness, sequences = best.T.topk(min(PLACES, S))  # (N, P) each
    queries = queries.T.gather(1, sequences)
    heads = torch.arange(maps.shape[1], device=maps.device)[:, None]
    keys = maps[sequences, heads, queries].argmax(-1)
    return torch.stack((sequences, queries, keys), -1), decisiveness
