"""Ids from a decoder, one at a time. Knows no text; the decoder knows nothing of sampling."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.decoder import Decoder, inference
from sampling.filters import SamplingParams, sample_next_token, uniforms
from sampling.kv_cache import KVCache

Ids = Sequence[int]


def prefill(decoder: Decoder, sequences: Sequence[Ids]) -> KVCache:
    """Read sequences at once: a cache that holds them. All of them are empty, or none is."""
    lens = [len(ids) for ids in sequences]
    T = max(lens)
    even = min(lens) == T
    cache = KVCache(decoder.config, len(sequences), T, decoder.embedding.weight, even=even)
    if T == 0:
        return cache
    padded = torch.tensor([[*ids, *[0] * (T - len(ids))] for ids in sequences], device=cache.lens.device)
    with inference(decoder), torch.inference_mode():
        cache.expect(T, None if even else lens)
        decoder.read(padded, cache=cache)
        cache.advance(lens)
    return cache


def decode_one(decoder: Decoder, ids: Tensor, cache: KVCache) -> Tensor:
    """Read one more id of each sequence, (B,): the logits (B, V) of the id after it."""
    logits = _read_one(decoder, ids, cache)
    cache.advance([1] * len(ids))
    return logits


def _read_one(decoder: Decoder, ids: Tensor, cache: KVCache) -> Tensor:
    """`decode_one` up to the counting of what was read."""
    with inference(decoder), torch.inference_mode():
        cache.expect(1)
        return decoder.logits(decoder.read(ids[:, None], cache=cache)[:, 0])


def kept(context: int) -> int:
    """How many ids, the newest among them, are left of a context that is full: half of it."""
    return max(context // 2, 1)


class Step(NamedTuple):
    """One more id of each sequence."""

    ids: Tensor  # (B,)
    logits: Tensor  # (B, V) that it was chosen from; they last until the next step


def steps(decoder: Decoder, prompts: Sequence[Ids], params: SamplingParams, seeds: Sequence[int]) -> Iterator[Step]:
    """Write on from each prompt, without end, with a generator of its own seed for each.

    Past the context the last half of it is kept and read again, so the cost of an id stays the same on average. Nothing
    waits for the device but that reading, and new random numbers now and then. Raises ValueError for an empty prompt.
    """
    if len(seeds) != len(prompts):
        raise ValueError(f"expected a seed for each of {len(prompts)} prompts, got {len(seeds)}")
    if not all(map(len, prompts)):
        raise ValueError("expected prompts of at least one id each, got one of none")
    context, device = decoder.config.context, decoder.embedding.weight.device
    prompts = [prompt[-context:] for prompt in prompts]
    even = len(set(map(len, prompts))) == 1
    weight, fixed = decoder.embedding.weight, has_graphs(device)
    cache = KVCache(decoder.config, len(prompts), context, weight, fixed=fixed, even=even)
    _restart(decoder, cache, {row: tuple(prompt[:-1]) for row, prompt in enumerate(prompts)})
    ids = torch.tensor([prompt[-1] for prompt in prompts], device=device)
    # The last ids of each sequence, as columns; the places before a short prompt are never read.
    aligned = [[*[0] * (context - len(prompt)), *prompt] for prompt in prompts]
    recent = deque(torch.tensor(aligned, device=device).unbind(1), maxlen=context)
    decode = recorded(decoder, cache) if cache.fixed else decode_one
    chance = uniforms(seeds, torch.device("cpu") if device.type == "mps" else device)  # no float64 on mps
    keep = kept(context) - 1  # and the newest id, which is still to be read
    while True:
        logits = decode(decoder, ids, cache)
        uniform = next(chance)
        with torch.no_grad():
            ids = sample_next_token(params.probabilities(logits.to(uniform.device)), uniform).to(device)
        yield Step(ids, logits)
        if full := [row for row, held in enumerate(cache.held) if held == context]:
            last = torch.stack([*recent][context - keep :], dim=1)[full].tolist() if keep else [()] * len(full)
            _restart(decoder, cache, dict(zip(full, map(tuple, last), strict=True)))
        recent.append(ids)


def _restart(decoder: Decoder, cache: KVCache, sequences: dict[int, tuple[int, ...]]) -> None:
    """Let some rows of the cache begin anew with these ids. Those that begin alike are read but once."""
    filled = {row: ids for row, ids in sequences.items() if ids}
    for group in filled, {row: ids for row, ids in sequences.items() if not ids}:
        if group:
            distinct = {ids: number for number, ids in enumerate(dict.fromkeys(group.values()))}
            cache.put([*group], prefill(decoder, [*distinct]), [distinct[ids] for ids in group.values()])


def has_graphs(device: torch.device) -> bool:
    """Whether kernels can be recorded once and launched as one."""
    return device.type == "cuda"


def recorded(decoder: Decoder, cache: KVCache) -> Callable[[Decoder, Tensor, KVCache], Tensor]:
    """`decode_one` for this decoder and this fixed cache as a CUDA graph: all its kernels are launched as one.

    The logits are overwritten by the next call.
    """
    B = len(cache.held)
    device = cache.lens.device
    ids = torch.zeros(B, dtype=torch.long, device=device)
    with torch.cuda.device(device):
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # kernels are loaded and workspaces made, which cannot be recorded
            decode_one(decoder, ids, KVCache(decoder.config, B, cache.size, decoder.embedding.weight, fixed=True))
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = _read_one(decoder, ids, cache)

    def replay(_: Decoder, following: Tensor, cache: KVCache) -> Tensor:
        ids.copy_(following)
        graph.replay()
        cache.advance([1] * B)
        return logits

    return replay


def generate(
    decoder: Decoder, prompt: Ids, params: SamplingParams | None = None, *, count: int = 1, seed: int = 0
) -> Iterator[list[int]]:
    """Yield, without end, the next id of each of `count` completions of one prompt (at least one id).

    Completion i draws from a generator seeded `seed + i`, so it does not depend on how many are drawn beside it.
    """
    for step in steps(decoder, [prompt] * count, params or SamplingParams(), range(seed, seed + count)):
        yield step.ids.tolist()
