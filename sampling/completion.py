"""Completions of a prompt: up to a length or a stop sequence, as many in a batch as fit in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

import torch

from model.decoder import Decoder
from sampling.filters import SamplingParams
from sampling.generate import Ids, generate_batch
from sampling.likelihood import token_log_probs
from sampling.packing import fastest_threads

CACHE_BYTES = 2**28  # size of the KV cache of a batch, at most
STEPS_PER_FETCH = 32  # decoding steps whose ids are copied from the device together, unless shown one by one


class FinishReason(StrEnum):
    length = "length"  # the requested length is reached
    stop = "stop"  # a stop sequence is complete


@dataclass
class Completion:
    """Ids that continue a prompt."""

    ids: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)  # nats, by the model before filters
    final: int = 0  # number of ids that stay, even if the next ones complete a stop sequence
    finish_reason: FinishReason | None = None

    def append(self, token: int, log_probability: float, stops: Sequence[Ids], length: int | None) -> None:
        """Add an id. It may complete one of `stops`, which is removed, or `length` ids."""
        self.ids.append(token)
        self.log_probabilities.append(log_probability)
        complete = [len(stop) for stop in stops if self.ids[-len(stop) :] == list(stop)]
        if complete:
            del self.ids[-max(complete) :], self.log_probabilities[-max(complete) :]
            self.finish_reason = FinishReason.stop
        elif len(self.ids) == length:
            self.finish_reason = FinishReason.length
        pending = 0 if self.finish_reason else max(map(self._partial_match, stops), default=0)
        self.final = len(self.ids) - pending

    def _partial_match(self, stop: Ids) -> int:
        """Length of the longest proper prefix of `stop` that the ids end with."""
        return next((n for n in range(len(stop) - 1, 0, -1) if self.ids[-n:] == list(stop[:n])), 0)


def complete_stepwise(
    decoder: Decoder,
    prompt: Ids,
    length: int | None,
    seeds: Sequence[int] = (0,),
    params: SamplingParams | None = None,
    stops: Sequence[Ids] = (),
    steps_per_fetch: int | None = None,
) -> Iterator[list[Completion]]:
    """Yield the completions of a prompt, one for each seed, after every step until all are finished.

    Each has `length` ids, at least one, or no limit if that is None, or ends before the first of `stops`.
    `steps_per_fetch`: decoding steps for each copy from the device; default 1 on a CPU.
    """
    steps_per_fetch = steps_per_fetch or (STEPS_PER_FETCH if decoder.embedding.weight.is_cuda else 1)
    completions = [Completion() for _ in seeds]
    steps = islice(generate_batch(decoder, [prompt] * len(seeds), params or SamplingParams(), seeds), length)
    while not all(each.finish_reason for each in completions):
        fetched = [(step.ids, token_log_probs(step.logits, step.ids)) for step in islice(steps, steps_per_fetch)]
        ids, log_probabilities = (torch.stack(column).tolist() for column in zip(*fetched, strict=True))
        for step_ids, step_log_probabilities in zip(ids, log_probabilities, strict=True):
            for each, token, log_probability in zip(completions, step_ids, step_log_probabilities, strict=True):
                if not each.finish_reason:
                    each.append(token, log_probability, stops, length)
        yield completions


def complete(
    decoder: Decoder,
    prompt: Ids,
    length: int,
    *,
    end: int | None = None,
    params: SamplingParams | None = None,
    count: int = 1,
    seed: int = 0,
) -> list[list[int]]:
    """`count` completions of one prompt by `length` ids, with seeds from `seed` on.

    With an id `end` each stops before that, or where the context is full.
    """
    if length == 0:
        return [[] for _ in range(count)]
    stops = []
    if end is not None:
        length, stops = min(length, positions_left(decoder, prompt)), [[end]]
    found: list[list[int]] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(fastest_threads(decoder, count))
    try:
        for seeds in seed_batches(decoder, count, seed):
            at_once = None if stops else STEPS_PER_FETCH
            *_, completions = complete_stepwise(decoder, prompt, length, seeds, params, stops, at_once)
            found += [each.ids for each in completions]
    finally:
        torch.set_num_threads(threads)
    return found


def positions_left(decoder: Decoder, prompt: Ids) -> int:
    """Number of ids that can follow a prompt within one context, at least one; the last needs no position."""
    return max(1, decoder.config.context - len(prompt) + 1)


def seed_batches(decoder: Decoder, count: int, seed: int) -> list[range]:
    """Seeds of `count` completions, in batches whose KV caches fit in CACHE_BYTES, or of one."""
    config = decoder.config
    widths = [heads * size for heads, size in map(config.heads_and_size, config.attention_kinds())]
    cache_bytes = 2 * sum(widths) * config.context * decoder.embedding.weight.element_size()
    batch = max(1, CACHE_BYTES // cache_bytes)
    return [range(start, min(start + batch, seed + count)) for start in range(seed, seed + count, batch)]
