"""Ids from a decoder, one at a time. Knows no text; the decoder knows nothing of sampling."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from model.cache import Cache
from model.choice import Choice, choose_next, uniforms
from model.decoder import Decoder, inference

Ids = Sequence[int]
CACHE_BYTES = 2**28  # that sequences written side by side may take


def prefill(decoder: Decoder, sequences: Sequence[Ids]) -> Cache:
    """Read sequences at once: a cache that holds them. All of them are empty, or none is."""
    lens = [len(ids) for ids in sequences]
    T = max(lens)
    cache = Cache(decoder.config, len(sequences), T, decoder.embedding.weight)
    if T == 0:
        return cache
    padded = torch.tensor([[*ids, *[0] * (T - len(ids))] for ids in sequences], device=cache.lens.device)
    with inference(decoder), torch.inference_mode():
        cache.expect(T, lens if min(lens) < T else None)
        decoder.read(padded, cache=cache)
        cache.advance(lens)
    return cache


def decode_one(decoder: Decoder, ids: Tensor, cache: Cache) -> Tensor:
    """Read one more id of each sequence, (B,): the logits (B, V) of the id after it."""
    with inference(decoder), torch.inference_mode():
        cache.expect(1)
        logits = decoder.logits(decoder.read(ids[:, None], cache=cache)[:, 0])
        cache.advance([1] * len(ids))
    return logits


class Step(NamedTuple):
    """One more id of each sequence."""

    ids: Tensor  # (B,)
    logits: Tensor  # (B, V) that it was chosen from; they last until the next step


def steps(decoder: Decoder, prompts: Sequence[Ids], choice: Choice, seeds: Ids) -> Iterator[Step]:
    """Write on from each prompt, without end, with a generator of its own seed for each.

    Past the context the last half of it is kept and read again, so the cost of an id stays the same on average. Nothing
    waits for the device but that reading.
    """
    if not all(map(len, prompts)):
        raise ValueError("expected prompts of at least one id each, got one of none")
    context, device = decoder.config.context, decoder.embedding.weight.device
    prompts = [prompt[-context:] for prompt in prompts]
    cache = Cache(decoder.config, len(prompts), context, decoder.embedding.weight, fixed=device.type == "cuda")
    _restart(decoder, cache, {row: tuple(prompt[:-1]) for row, prompt in enumerate(prompts)})
    ids = torch.tensor([prompt[-1] for prompt in prompts], device=device)
    # The last ids of each sequence, as columns; the places before a short prompt are never read.
    aligned = [[*[0] * (context - len(prompt)), *prompt] for prompt in prompts]
    recent = deque(torch.tensor(aligned, device=device).unbind(1), maxlen=context)
    decode = recorded(decoder, cache) if cache.fixed else decode_one
    chance = uniforms(seeds, torch.device("cpu") if device.type == "mps" else device)  # no float64 on mps
    keep = max(context // 2, 1) - 1  # and the newest id, which is still to be read
    while True:
        logits = decode(decoder, ids, cache)
        uniform = next(chance)
        with torch.no_grad():
            ids = choose_next(choice.probabilities(logits.to(uniform.device)), uniform).to(device)
        yield Step(ids, logits)
        if full := [row for row, held in enumerate(cache.held) if held == context]:
            kept = torch.stack([*recent][context - keep :], dim=1)[full].tolist() if keep else [()] * len(full)
            _restart(decoder, cache, dict(zip(full, map(tuple, kept), strict=True)))
        recent.append(ids)


def generate(
    decoder: Decoder, prompt: Ids, choice: Choice | None = None, *, count: int = 1, seed: int = 0
) -> Iterator[list[int]]:
    """Yield, without end, the next id of each of `count` continuations of one prompt (at least one id).

    Continuation i draws from a generator seeded `seed + i`, so it does not depend on how many are drawn beside it.
    """
    for step in steps(decoder, [prompt] * count, choice or Choice(), range(seed, seed + count)):
        yield step.ids.tolist()


class Ended(StrEnum):
    """Why a continuation goes no further."""

    length = "length"  # it is as long as was asked for
    stop = "stop"  # what it was to stop at came next


@dataclass
class Continuation:
    """What has been written behind a prompt."""

    ids: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)  # nats, by the model's own distribution
    settled: int = 0  # how many ids stay, even if a stop should be completed next
    ended: Ended | None = None

    def add(self, chosen: int, log_probability: float, stops: Sequence[Ids], length: int | None) -> None:
        """One more id. It may complete one of `stops`, which is left out, or `length` ids."""
        self.ids.append(chosen)
        self.log_probabilities.append(log_probability)
        complete = [len(stop) for stop in stops if self.ids[-len(stop) :] == list(stop)]
        if complete:
            del self.ids[-max(complete) :], self.log_probabilities[-max(complete) :]
            self.ended = Ended.stop
        elif len(self.ids) == length:
            self.ended = Ended.length
        pending = 0 if self.ended else max((self._begun(stop) for stop in stops), default=0)
        self.settled = len(self.ids) - pending

    def _begun(self, stop: Ids) -> int:
        """How many of the last ids may be the beginning of `stop`."""
        return next((n for n in range(len(stop) - 1, 0, -1) if self.ids[-n:] == list(stop[:n])), 0)


def write(
    decoder: Decoder,
    prompt: Ids,
    length: int | None,
    *,
    stops: Sequence[Ids] = (),
    choice: Choice | None = None,
    seeds: Ids = (0,),
    at_once: int = 1,
) -> Iterator[list[Continuation]]:
    """Continuations of a prompt, one for each seed, yielded as they grow until all have ended.

    Each has `length` ids, at least one, or no end if that is None, or goes as far as one of `stops`. `at_once`: how
    many ids of each are fetched from the device together.
    """
    written = [Continuation() for _ in seeds]
    going = steps(decoder, [prompt] * len(seeds), choice or Choice(), seeds)
    while not all(each.ended for each in written):
        fetched = [(step.ids, _log_probabilities(step)) for step in islice(going, at_once)]
        ids, log_probabilities = (torch.stack(column).tolist() for column in zip(*fetched, strict=True))
        for chosen, how_likely in zip(ids, log_probabilities, strict=True):
            for each, own, log_probability in zip(written, chosen, how_likely, strict=True):
                if not each.ended:
                    each.add(own, log_probability, stops, length)
        yield written


def continuations(
    decoder: Decoder,
    prompt: Ids,
    length: int,
    *,
    end: int | None = None,
    choice: Choice | None = None,
    count: int = 1,
    seed: int = 0,
) -> list[list[int]]:
    """`count` continuations of one prompt by `length` ids, none if that is 0, of seeds from `seed` on.

    With an id `end` each goes as far as that, which is left out, or as the places of the context if they are fewer.
    """
    if end is not None:
        length = min(length, places_left(decoder, prompt))
    stops = [] if end is None else [[end]]
    at_once = 32 if decoder.embedding.weight.is_cuda else 1
    found: list[list[int]] = []
    if length == 0:
        return [[] for _ in range(count)]
    with inference(decoder):
        for seeds in side_by_side(decoder, count, seed):
            *_, written = write(decoder, prompt, length, stops=stops, choice=choice, seeds=seeds, at_once=at_once)
            found += [each.ids for each in written]
    return found


def places_left(decoder: Decoder, prompt: Ids) -> int:
    """How many ids can follow a prompt within one context; the last takes no place. At least one."""
    return max(1, decoder.config.context - len(prompt) + 1)


def side_by_side(decoder: Decoder, count: int, seed: int) -> list[range]:
    """The seeds of `count` continuations, in groups whose caches fit into CACHE_BYTES, or of one."""
    config = decoder.config
    sizes = [heads * size for heads, size in map(config.heads_and_size, config.attention_kinds())]
    each = 2 * sum(sizes) * config.context * decoder.embedding.weight.element_size()
    together = max(1, CACHE_BYTES // each)
    return [range(start, min(start + together, seed + count)) for start in range(seed, seed + count, together)]


def windows(length: int, context: int) -> list[slice]:
    """The stretches of `length` ids that `steps` has before it, one after the other, from the first id on."""
    later = context - max(context // 2, 1) + 1
    return [slice(start, min(start + context, length)) for start in range(0, max(length - context, 0) + later, later)]


def log_probabilities(decoder: Decoder, ids: Ids) -> Tensor:
    """What `steps` would give each id but the first to follow those before it, in nats: (len(ids) - 1,) on the CPU."""
    context, device = decoder.config.context, decoder.embedding.weight.device
    text = torch.tensor(ids, device=device)
    found = []
    with inference(decoder):
        for window in windows(len(ids) - 1, context):
            following = text[window.start + 1 : window.stop + 1]
            likely = decoder(text[None, window])[0].log_softmax(-1).gather(-1, following[:, None])[:, 0]
            # All windows but the first begin with what was kept from the one before.
            found.append(likely if window.start == 0 else likely[max(context // 2, 1) - 1 :])
    return torch.cat(found).cpu()


def _log_probabilities(step: Step) -> Tensor:
    """Of the ids that were chosen, in nats: (B,)."""
    return step.logits.log_softmax(-1).gather(-1, step.ids[:, None])[:, 0]


def _restart(decoder: Decoder, cache: Cache, sequences: dict[int, tuple[int, ...]]) -> None:
    """Let some rows of the cache begin anew with these ids. Those that begin alike are read but once."""
    filled = {row: ids for row, ids in sequences.items() if ids}
    for group in filled, {row: ids for row, ids in sequences.items() if not ids}:
        if group:
            distinct = {ids: number for number, ids in enumerate(dict.fromkeys(group.values()))}
            cache.put([*group], prefill(decoder, [*distinct]), [distinct[ids] for ids in group.values()])


def recorded(decoder: Decoder, cache: Cache) -> Callable[[Decoder, Tensor, Cache], Tensor]:
    """`decode_one` for this decoder and this fixed cache as a CUDA graph: all its kernels are launched as one.

    The logits are overwritten by the next call.
    """
    B = len(cache.held)
    device = cache.lens.device
    ids = torch.zeros(B, dtype=torch.long, device=device)
    beside = torch.cuda.Stream(device)
    beside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(beside):  # kernels are loaded and workspaces made, which cannot be recorded
        decode_one(decoder, ids, Cache(decoder.config, B, cache.size, decoder.embedding.weight, fixed=True))
    torch.cuda.current_stream(device).wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with inference(decoder), torch.inference_mode(), torch.cuda.graph(graph):
        cache.expect(1)
        logits = decoder.logits(decoder.read(ids[:, None], cache=cache)[:, 0])

    def replay(_: Decoder, following: Tensor, cache: Cache) -> Tensor:
        ids.copy_(following)
        graph.replay()
        cache.advance([1] * B)
        return logits

    return replay
