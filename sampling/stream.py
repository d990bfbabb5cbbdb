"""Samples on their way out: as they are written or when they are finished, as text or as JSON."""

import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from tqdm import tqdm

from data.lines import is_among
from data.vocabulary import Vocabulary
from model.decoder import Decoder
from sampling.completion import Completion, StopReason, side_by_side, write
from sampling.filters import SamplingParams
from terminal import Writer

KNOWN, CUT = "\t(in the training set)", "\t(cut off)"  # behind a line that is
JOINER = "\N{ZERO WIDTH JOINER}"  # what stands on both of its sides is one
SKIN = range(0x1F3FB, 0x1F400)  # colours that follow an emoji


@dataclass(frozen=True)
class Task:
    """What is to be written, and by what."""

    decoder: Decoder
    vocabulary: Vocabulary
    prompt: str
    ids: list[int]  # what is read first: the prompt, and what opens it
    length: int | None
    stops: list[list[int]]
    params: SamplingParams
    count: int
    seed: int
    training_lines: np.ndarray | None  # where lines were learned: their fingerprints

    def decode(self, sample: Completion) -> str:
        return self.vocabulary.decode(sample.ids)

    def is_known(self, sample: Completion) -> bool:
        """Whether a whole line was written that stands in the training set."""
        if self.training_lines is None or sample.ended is not StopReason.stop:
            return False
        return is_among(self.prompt + self.decode(sample), self.training_lines)


Form = Callable[[Task, int, Completion], str]  # from the number of a sample, counted from 0


def as_text(task: Task, number: int, sample: Completion) -> str:
    """A sample behind its title."""
    return f"--- {number + 1} of {task.count} ---\n{task.prompt}{task.decode(sample)}\n"


def as_line(task: Task, _: int, sample: Completion) -> str:
    """A line, and what is to be said of it."""
    remark = KNOWN if task.is_known(sample) else "" if sample.ended is StopReason.stop else CUT
    return f"{task.prompt}{task.decode(sample)}{remark}\n"


def as_json(task: Task, number: int, sample: Completion) -> str:
    """All that is known of a sample, on one line. Log-probabilities are the model's own, in nats."""
    record = {
        "sample": number + 1,
        "seed": task.seed + number,
        "prompt": task.prompt,
        "text": task.decode(sample),
        "ended": str(sample.ended or "interrupted"),
        "log_probabilities": [round(nats, 6) for nats in sample.log_probabilities],
    }
    if task.training_lines is not None:
        record["in_training_set"] = task.is_known(sample)
    return json.dumps(record, ensure_ascii=False) + "\n"


def write_all(task: Task, form: Form, out: Writer, bar: "tqdm[NoReturn]", written: list[Completion]) -> None:
    """Write the samples in `form` when they are finished, or interrupted, and add them to `written`."""
    for seeds in side_by_side(task.decoder, task.count, task.seed):
        together: list[Completion] = []
        before = bar.n
        try:
            for together in write(
                task.decoder, task.ids, task.length, stops=task.stops, params=task.params, seeds=seeds
            ):
                bar.update(before + sum(len(sample.ids) for sample in together) - bar.n)
        finally:
            for seed, sample in zip(seeds, together, strict=False):
                out.write(form(task, seed - task.seed, sample))
            out.flush()
            written += together


def stream(task: Task, out: Writer, bar: "tqdm[NoReturn]", written: list[Completion]) -> None:
    """Write prompt and sample character by character, each as soon as nothing can change it any more."""
    composed = any(map(extends, task.vocabulary.characters))
    sample, taken, pending = Completion(), 0, task.prompt

    def take(until: int) -> None:
        """So many of the sample's ids are text."""
        nonlocal taken, pending
        taken, pending = until, pending + task.vocabulary.decode(sample.ids[taken:until])

    def show(final: int) -> None:
        """Write so many characters of what is pending."""
        nonlocal pending
        shown, pending = pending[:final], pending[final:]  # first, or what Ctrl-C interrupts would be written again
        out.write(shown)
        out.flush()

    show(whole(pending) if composed else len(pending))
    try:
        for (sample,) in write(
            task.decoder, task.ids, task.length, stops=task.stops, params=task.params, seeds=[task.seed], at_once=1
        ):
            take(sample.settled)
            show(whole(pending) if composed else len(pending))
            bar.update()
    finally:
        take(len(sample.ids))
        pending += "\n"
        show(len(pending))
        written.append(sample)


def whole(text: str) -> int:
    """How many characters of a growing text are final: those before the last one that marks and joiners may follow."""
    last = len(text) - 1
    while last > 0 and (extends(text[last]) or text[last - 1] == JOINER):
        last -= 1
    return max(last, 0)


def extends(character: str) -> bool:
    """Whether a character is drawn into the one before it: a combining mark, a joiner, a colour of an emoji."""
    return unicodedata.category(character)[0] == "M" or character == JOINER or ord(character) in SKIN
