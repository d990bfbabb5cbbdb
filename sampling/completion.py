"""What is written behind a prompt: how far it goes, and how many at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

import torch
from torch import Tensor

from model.decoder import Decoder, inference
from sampling.filters import SamplingParams
from sampling.generate import Ids, Step, steps

CACHE_BYTES = 2**28  # that sequences written side by side may take
AT_ONCE = 32  # ids of each that are fetched from a GPU together where nobody watches


class StopReason(StrEnum):
    """Why a continuation goes no further."""

    length = "length"  # it is as long as was asked for
    stop = "stop"  # what it was to stop at came next


@dataclass
class Completion:
    """What has been written behind a prompt."""

    ids: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)  # nats, by the model's own distribution
    settled: int = 0  # how many ids stay, even if a stop should be completed next
    ended: StopReason | None = None

    def add(self, chosen: int, log_probability: float, stops: Sequence[Ids], length: int | None) -> None:
        """One more id. It may complete one of `stops`, which is left out, or `length` ids."""
        self.ids.append(chosen)
        self.log_probabilities.append(log_probability)
        complete = [len(stop) for stop in stops if self.ids[-len(stop) :] == list(stop)]
        if complete:
            del self.ids[-max(complete) :], self.log_probabilities[-max(complete) :]
            self.ended = StopReason.stop
        elif len(self.ids) == length:
            self.ended = StopReason.length
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
    params: SamplingParams | None = None,
    seeds: Sequence[int] = (0,),
    at_once: int | None = None,
) -> Iterator[list[Completion]]:
    """Continuations of a prompt, one for each seed, yielded as they grow until all have ended.

    Each has `length` ids, at least one, or no end if that is None, or goes as far as one of `stops`. `at_once`: how
    many ids of each are fetched from the device together; by default one from a CPU, where there is nothing to gain.
    """
    at_once = at_once or (AT_ONCE if decoder.embedding.weight.is_cuda else 1)
    written = [Completion() for _ in seeds]
    going = steps(decoder, [prompt] * len(seeds), params or SamplingParams(), seeds)
    while not all(each.ended for each in written):
        fetched = [(step.ids, _log_probabilities(step)) for step in islice(going, at_once)]
        ids, log_probabilities = (torch.stack(column).tolist() for column in zip(*fetched, strict=True))
        for chosen, how_likely in zip(ids, log_probabilities, strict=True):
            for each, own, log_probability in zip(written, chosen, how_likely, strict=True):
                if not each.ended:
                    each.add(own, log_probability, stops, length)
        yield written


def completions(
    decoder: Decoder,
    prompt: Ids,
    length: int,
    *,
    end: int | None = None,
    params: SamplingParams | None = None,
    count: int = 1,
    seed: int = 0,
) -> list[list[int]]:
    """`count` completions of one prompt by `length` ids, none if that is 0, of seeds from `seed` on.

    With an id `end` each goes as far as that, which is left out, or as the places of the context if they are fewer.
    """
    if end is not None:
        length = min(length, places_left(decoder, prompt))
    stops = [] if end is None else [[end]]
    found: list[list[int]] = []
    if length == 0:
        return [[] for _ in range(count)]
    with inference(decoder):
        for seeds in side_by_side(decoder, count, seed):
            *_, written = write(decoder, prompt, length, stops=stops, params=params, seeds=seeds)
            found += [each.ids for each in written]
    return found


def places_left(decoder: Decoder, prompt: Ids) -> int:
    """How many ids can follow a prompt within one context; the last takes no place. At least one."""
    return max(1, decoder.config.context - len(prompt) + 1)


def side_by_side(decoder: Decoder, count: int, seed: int) -> list[range]:
    """The seeds of `count` completions, in groups whose caches fit into CACHE_BYTES, or of one."""
    config = decoder.config
    sizes = [heads * size for heads, size in map(config.heads_and_size, config.attention_kinds())]
    each = 2 * sum(sizes) * config.context * decoder.embedding.weight.element_size()
    together = max(1, CACHE_BYTES // each)
    return [range(start, min(start + together, seed + count)) for start in range(seed, seed + count, together)]


def _log_probabilities(step: Step) -> Tensor:
    """Of the ids that were chosen, in nats: (B,)."""
    return step.logits.log_softmax(-1).gather(-1, step.ids[:, None])[:, 0]
