"""Writing samples: character by character or when they are finished, as text or JSON, to the screen or a file."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from tqdm import tqdm

from data.lines import is_among
from data.vocabulary import Vocabulary
from model.decoder import Decoder
from sampling.completion import Completion, FinishReason, complete_stepwise, seed_batches
from sampling.filters import SamplingParams
from sampling.output import open_output, text_fields
from terminal import Writer

KNOWN, CUT = "\t(in the training set)", "\t(cut off)"  # appended to such a line


@dataclass(frozen=True)
class SamplingRequest:
    """Samples to draw, and the decoder to draw them from."""

    decoder: Decoder
    vocabulary: Vocabulary
    prompt: str
    ids: list[int]  # the prompt with its opening, encoded
    length: int | None
    stops: list[list[int]]
    params: SamplingParams
    count: int
    seed: int
    training_lines: np.ndarray | None  # fingerprints of the training lines, if the corpus is lines

    def steps(self, seeds: Sequence[int], steps_per_fetch: int | None = None) -> Iterator[list[Completion]]:
        """Samples with these seeds, after every step."""
        return complete_stepwise(self.decoder, self.ids, self.length, seeds, self.params, self.stops, steps_per_fetch)

    def decode(self, sample: Completion) -> str:
        return self.vocabulary.decode(sample.ids)

    def is_known(self, sample: Completion) -> bool:
        """Whether the sample is a whole line of the training set."""
        if self.training_lines is None or sample.finish_reason is not FinishReason.stop:
            return False
        return is_among(self.vocabulary.to_characters(self.prompt + self.decode(sample)), self.training_lines)


Formatter = Callable[[SamplingRequest, int, Completion], str]  # of the sample's index


def format_text(request: SamplingRequest, index: int, sample: Completion) -> str:
    """A sample below its title."""
    return f"--- {index + 1} of {request.count} ---\n{request.prompt}{request.decode(sample)}\n"


def format_line(request: SamplingRequest, _: int, sample: Completion) -> str:
    """A line, marked if it is known or cut off."""
    mark = KNOWN if request.is_known(sample) else "" if sample.finish_reason is FinishReason.stop else CUT
    return f"{request.prompt}{request.decode(sample)}{mark}\n"


def format_json(request: SamplingRequest, index: int, sample: Completion) -> str:
    """A JSON object on one line; log-probabilities in nats, by the model before filters."""
    record = {
        "sample": index + 1,
        "seed": request.seed + index,
        "prompt": text_fields(request.prompt, request.vocabulary)["text"],
        **text_fields(request.decode(sample), request.vocabulary),
        "ended": str(sample.finish_reason or "interrupted"),
        "log_probabilities": [round(nats, 6) for nats in sample.log_probabilities],
    }
    if request.training_lines is not None:
        record["in_training_set"] = request.is_known(sample)
    return json.dumps(record, ensure_ascii=False) + "\n"


def write_samples(request: SamplingRequest, output: str | None) -> list[Completion]:
    """Sample, and write to the file `output` or standard output. Ctrl-C ends a sample without length."""
    completions: list[Completion] = []
    as_json = output is not None and output.endswith(".jsonl")
    lines = request.training_lines is not None
    streamed = request.count == 1 and not lines and not as_json
    total = None if request.length is None else request.length * request.count
    no_bar = streamed and output is None  # the text itself shows the progress
    try:
        with (
            open_output(output) as out,
            tqdm(total=total, unit=f" {request.vocabulary.unit}s", leave=bool(output), disable=no_bar or None) as bar,
        ):
            if streamed:
                stream(request, out, bar, completions)
            else:
                formatter = format_json if as_json else format_line if lines else format_text
                write_whole(request, formatter, out, bar, completions)
    except KeyboardInterrupt:
        if request.length is not None:
            raise
    return completions


def write_whole(
    request: SamplingRequest, formatter: Formatter, out: Writer, bar: "tqdm[NoReturn]", completions: list[Completion]
) -> None:
    """Write samples when they are finished, or interrupted, and add them to `completions`."""
    for seeds in seed_batches(request.decoder, request.count, request.seed):
        batch: list[Completion] = []
        before = bar.n
        try:
            for batch in request.steps(seeds):
                bar.update(before + sum(len(sample.ids) for sample in batch) - bar.n)
        finally:
            for seed, sample in zip(seeds, batch, strict=False):
                out.write(formatter(request, seed - request.seed, sample))
            out.flush()
            completions += batch


def stream(request: SamplingRequest, out: Writer, bar: "tqdm[NoReturn]", completions: list[Completion]) -> None:
    """Write prompt and sample, each character as soon as it is final, and add the sample to `completions`."""
    sample, prefix, shown = Completion(), request.prompt, 0

    def show(until: int, suffix: str = "") -> None:
        nonlocal prefix, shown
        text = prefix + request.vocabulary.decode(sample.ids[shown:until]) + suffix
        prefix, shown = "", until  # before writing: Ctrl-C there must not write them again
        out.write(text)
        out.flush()

    try:
        for (sample,) in request.steps([request.seed], steps_per_fetch=1):
            show(sample.final)
            bar.update()
    finally:
        if sample.ids or sample.finish_reason:  # a first step that fails leaves an old file
            show(len(sample.ids), "\n")
        completions.append(sample)
