"""Token generation with a KV cache: prefill, then one token at a time. Knows no text."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.decoder import Decoder, inference
from sampling.filters import SamplingParams, logits_to_probs, sample_next_token, uniforms
from sampling.kv_cache import KVCache
from sampling.light import light

Ids = Sequence[int]
INITIAL_SIZE = 2**12  # positions of a cache at first, at most, unless a prompt needs more: it doubles when full


def prefill(decoder: Decoder, sequences: Sequence[Ids]) -> KVCache:
    """Read all sequences in one forward pass into a new cache. All of them are empty, or none is."""
    lengths = [len(ids) for ids in sequences]
    T = max(lengths)
    equal = min(lengths) == T
    cache = KVCache(decoder.config, len(sequences), T, decoder.embedding.weight, equal_lengths=equal)
    if T == 0:
        return cache
    padded = torch.tensor([[*ids, *[0] * (T - len(ids))] for ids in sequences], device=cache.device_lengths.device)
    with inference(decoder), torch.inference_mode():
        cache.prepare(T, None if equal else lengths)
        decoder.hidden_cached(padded, cache.layers)
        cache.advance(lengths)
    return cache


def decode_one_token(decoder: Decoder, ids: Tensor, cache: KVCache) -> Tensor:
    """Read one token of each sequence, (B,) -> logits (B, V) of the next."""
    logits = _forward_one_token(decoder, ids, cache)
    cache.advance([1] * len(ids))
    return logits


def _forward_one_token(decoder: Decoder, ids: Tensor, cache: KVCache) -> Tensor:
    if decoder.training or not torch.is_inference_mode_enabled():  # entering both takes as long as a small product
        with inference(decoder), torch.inference_mode():
            return _forward_one_token(decoder, ids, cache)
    cache.prepare(1)
    return decoder.logits(decoder.hidden_cached(ids[:, None], cache.layers)[:, 0])


def overlap(context: int) -> int:
    """Number of tokens, the newest included, that are read again when the context is full: half of it."""
    return max(context // 2, 1)


class DecodeStep(NamedTuple):
    """The next token of each sequence."""

    ids: Tensor  # (B,)
    logits: Tensor  # (B, V) that it was drawn from; valid until the next step


def generate_batch(
    decoder: Decoder, prompts: Sequence[Ids], params: SamplingParams, seeds: Sequence[int]
) -> Iterator[DecodeStep]:
    """Continue each prompt without end, each with a random generator of its own seed.

    When the context is full its last half is prefilled again, so that the cost of a token stays constant on average.
    Nothing else waits for the device, except for new random numbers. Raises ValueError for an empty prompt.
    """
    if len(seeds) != len(prompts):
        raise ValueError(f"expected a seed for each of {len(prompts)} prompts, got {len(seeds)}")
    if not all(map(len, prompts)):
        raise ValueError("expected prompts of at least one id each, got an empty one")
    context, weight = decoder.config.context, decoder.embedding.weight
    device, decoder = weight.device, light(decoder)
    prompts = [prompt[-context:] for prompt in prompts]
    longest, equal = max(map(len, prompts)), len(set(map(len, prompts))) == 1
    size = min(context, max(INITIAL_SIZE, longest))
    cache = KVCache(decoder.config, len(prompts), size, weight, static=has_cuda_graphs(device), equal_lengths=equal)
    _prefill_rows(decoder, cache, {row: tuple(prompt[:-1]) for row, prompt in enumerate(prompts) if len(prompt) > 1})
    ids = torch.tensor([prompt[-1] for prompt in prompts], device=device)
    keep = overlap(context) - 1  # besides the newest token, which is not read yet
    # The last ids of each sequence, as columns; the padding before a shorter prompt is never read.
    padded = [[*[0] * (longest - len(prompt)), *prompt] for prompt in prompts]
    recent = deque(torch.tensor(padded, device=device).unbind(1), maxlen=keep)
    decode = capture_graph(decoder, cache) if cache.static else decode_one_token
    draws = uniforms(seeds, torch.device("cpu") if device.type == "mps" else device)  # mps has no float64
    while True:
        uniform = next(draws)
        with torch.inference_mode():
            logits = decode(decoder, ids, cache)
            ids = sample_next_token(logits_to_probs(logits.to(uniform.device), params), uniform).to(device)
        yield DecodeStep(ids, logits)
        if full := [row for row, length in enumerate(cache.lengths) if length == context]:
            last = torch.stack([*recent], dim=1)[full].tolist() if keep else [()] * len(full)
            _prefill_rows(decoder, cache, dict(zip(full, map(tuple, last), strict=True)))
        elif max(cache.lengths) == cache.size:
            cache.grow(min(2 * cache.size, context))
            decode = capture_graph(decoder, cache) if cache.static else decode_one_token
        recent.append(ids)


def _prefill_rows(decoder: Decoder, cache: KVCache, sequences: dict[int, tuple[int, ...]]) -> None:
    """Replace rows of the cache by these sequences, reading equal ones once. All of them are empty, or none is."""
    if sequences:
        distinct = {ids: index for index, ids in enumerate(dict.fromkeys(sequences.values()))}
        cache.copy_rows([*sequences], prefill(decoder, [*distinct]), [distinct[ids] for ids in sequences.values()])


def has_cuda_graphs(device: torch.device) -> bool:
    return device.type == "cuda"


def capture_graph(decoder: Decoder, cache: KVCache) -> Callable[[Decoder, Tensor, KVCache], Tensor]:
    """`decode_one_token` for this decoder and static cache as a CUDA graph. Each call overwrites the last logits."""
    B, device = len(cache.lengths), cache.device_lengths.device
    ids = torch.zeros(B, dtype=torch.long, device=device)
    with torch.cuda.device(device):
        side_stream = torch.cuda.Stream()
        side_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side_stream):  # loads kernels and makes workspaces, which cannot be captured
            spare = KVCache(decoder.config, B, cache.size, decoder.embedding.weight, static=True)
            decode_one_token(decoder, ids, spare)
        torch.cuda.current_stream().wait_stream(side_stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = _forward_one_token(decoder, ids, cache)

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

    Completion i draws from a generator seeded `seed + i`, whatever `count` is.
    """
    for step in generate_batch(decoder, [prompt] * count, params or SamplingParams(), range(seed, seed + count)):
        yield step.ids.tolist()
