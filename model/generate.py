"""Ids from a decoder, one at a time. Knows no text; the decoder knows nothing of sampling."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from model.decoder import Decoder, inference


def generate(
    decoder: Decoder,
    prompt: Sequence[int],
    *,
    count: int = 1,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
) -> Iterator[list[int]]:
    """Yield, without end, the next id of each of `count` continuations of one prompt (at least one id).

    The decoder sees the last `context` ids. Temperature 0 is greedy; `top_k` keeps the k likeliest. Sample i draws
    from a generator seeded `seed + i`, so it does not depend on how many are drawn beside it.
    """
    if not len(prompt):
        raise ValueError("expected a prompt of at least one id, got none")
    device = decoder.embedding.weight.device
    generators = [torch.Generator().manual_seed(seed + i) for i in range(count)]
    ids = torch.tensor(prompt, device=device).repeat(count, 1)  # (count, T)
    while True:
        ids = ids[:, -decoder.config.context :]
        with inference(decoder):
            logits = decoder(ids)[:, -1]  # (count, V)
        chosen = choose_next(next_probabilities(logits, temperature, top_k), generators)
        yield chosen.tolist()
        ids = torch.cat((ids, chosen[:, None].to(device)), dim=1)


def continuations(
    decoder: Decoder, prompt: Sequence[int], length: int, *, end: int | None = None, count: int = 1, **options: Any
) -> list[list[int]]:
    """`count` continuations of one prompt by `length` ids. `options` are those of `generate`.

    With an id `end` each goes as far as that, which is left out, or as the places of the context if they are fewer.
    """
    room = length if end is None else max(0, min(length, decoder.config.context - len(prompt) + 1))
    written: list[list[int]] = [[] for _ in range(count)]
    growing = set(range(count))
    for ids in islice(generate(decoder, prompt, count=count, **options), room):
        growing -= {i for i in growing if ids[i] == end}
        if not growing:
            break
        for i in growing:
            written[i].append(ids[i])
    return written


def next_probabilities(logits: Tensor, temperature: float, top_k: int | None) -> Tensor:
    """Logits (..., V) to the probabilities that are drawn from, of the same shape, in float32 on the CPU."""
    logits = logits.float().cpu()
    if temperature == 0:
        return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)
    if top_k is not None and top_k < logits.shape[-1]:
        places = logits.topk(top_k, dim=-1).indices
        logits = torch.full_like(logits, -torch.inf).scatter(-1, places, logits.gather(-1, places))
    # The largest logit becomes zero first: dividing by a tiny temperature cannot overflow to infinity there.
    return ((logits - logits.amax(-1, keepdim=True)) / temperature).softmax(-1)


def choose_next(probabilities: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Draw one id for each row of (count, V) from the row's own generator: (count,)."""
    drawn = [row.multinomial(1, generator=own) for row, own in zip(probabilities, generators, strict=True)]
    return torch.cat(drawn)
