"""Write text with a trained model, or score one: `python sample.py --help`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cli.command import command
from conf.schema import SampleConfig
from errors import UserError
from terminal import Writer, shown_on, visible

if TYPE_CHECKING:
    from torch import Tensor

    from data.vocabulary import Vocabulary
    from model.decoder import Decoder
    from sampling.stream import Task


@command("sample", free_text=("checkpoint", "prompt", "prompt_file", "output"), free_texts=("stop",))
def main(config: SampleConfig, _: object) -> None:
    """Write or score as `config` says. What is not the text itself goes to standard error."""
    # Imported here, so that help and completion need not wait for torch.
    from data.vocabulary import Vocabulary
    from sampling.engine import ready
    from sampling.prompt import read_prompt
    from sampling.score import score, sequences_of
    from training.checkpoint import find_checkpoint, load_checkpoint

    given = read_prompt(config.prompt, config.prompt_file)
    file = find_checkpoint(config.checkpoint)
    checkpoint = load_checkpoint(file)
    vocabulary, lines = Vocabulary(checkpoint.vocabulary), checkpoint.training_lines is not None
    prompt, note = vocabulary.fitted(given.replace("\r\n", "\n") if lines else given, config.unknown)
    if given and not prompt:
        raise UserError("prompt: expected at least one character of the vocabulary, got none")
    context = checkpoint.model.context
    decoder, how = ready(checkpoint.decoder(), config.runtime, rows=context if config.score else config.count)
    said = f"{file}, trained for {checkpoint.step} steps; on {how}" + (f"\nprompt: {note}" if note else "")
    if config.score:
        text, sequences = sequences_of(prompt, vocabulary, context, lines)
        with opened(config.output) as out:
            print(visible(said), file=sys.stderr)
            found = score(text, sequences, decoder)
            out.write(found.as_json() if is_json(config.output) else found.told())
    else:
        task = make_task(config, prompt, decoder, vocabulary, checkpoint.training_lines)
        with opened(config.output) as out:
            print(visible(said), file=sys.stderr)
            sequences = write_samples(config, task, out)
    if config.inspect:
        from board.sampled_text import write_maps  # TensorBoard takes its time

        folder = write_maps(sequences, decoder, vocabulary, file)
        told = f"attention maps: {folder}; to see them: tensorboard --logdir {folder.parent}"
        print(visible(told), file=sys.stderr)


def make_task(
    config: SampleConfig, prompt: str, decoder: "Decoder", vocabulary: "Vocabulary", training_lines: "Tensor | None"
) -> "Task":
    """What is to be written. Raises UserError if the vocabulary, or a line, has no place for prompt or stops."""
    from data.lines import line_beginning
    from sampling.completion import places_left, side_by_side
    from sampling.filters import SamplingParams
    from sampling.stream import Task

    together = len(side_by_side(decoder, config.count, config.seed)[0])
    if config.length is None and together < config.count:
        raise UserError(f"count: expected at most {together} with length=null, as none ever ends, got {config.count}")
    length, stops = config.length, [vocabulary.encode(stop, "stop").tolist() for stop in config.stop]
    if training_lines is None:
        ids = vocabulary.encode(prompt or vocabulary.opening, "prompt").tolist()
    else:
        prompt = prompt.rstrip("\r\n")
        ids = line_beginning(prompt, vocabulary, decoder.config.context, "prompt")
        stops.append(ids[:1])
        length = min(length or sys.maxsize, places_left(decoder, ids))
    return Task(
        decoder=decoder,
        vocabulary=vocabulary,
        prompt=prompt,
        ids=ids,
        length=length,
        stops=stops,
        params=SamplingParams(
            temperature=config.temperature, top_k=config.top_k, top_p=config.top_p, min_p=config.min_p
        ),
        count=config.count,
        seed=config.seed,
        training_lines=None if training_lines is None else training_lines.numpy(),
    )


def write_samples(config: SampleConfig, task: "Task", out: Writer) -> list[list[int]]:
    """Write the samples, and say of lines how many were learned. Returns the ids that were read or written of each."""
    from tqdm import tqdm

    from sampling.completion import Completion
    from sampling.stream import as_json, as_line, as_text, stream, write_all

    written: list[Completion] = []
    total = None if task.length is None else task.length * task.count
    streamed = task.count == 1 and task.training_lines is None and not is_json(config.output)
    watched = streamed and config.output is None  # then the text itself shows how far it is
    try:
        with tqdm(total=total, unit=" characters", leave=bool(config.output), disable=watched or None) as bar:
            if streamed:
                stream(task, out, bar, written)
            elif is_json(config.output):
                write_all(task, as_json, out, bar, written)
            else:
                write_all(task, as_text if task.training_lines is None else as_line, out, bar, written)
    except KeyboardInterrupt:
        if task.length is not None:  # or else it is how to end it
            raise
    if task.training_lines is not None:
        known = sum(map(task.is_known, written))
        print(f"{known} of {len(written)} were in the training set", file=sys.stderr)
    return [task.ids[-task.decoder.config.context :] + sample.ids for sample in written]


def is_json(output: str | None) -> bool:
    return output is not None and output.endswith(".jsonl")


@contextmanager
def opened(output: str | None) -> Iterator[Writer]:
    """The file to write to, exactly, by default standard output. Raises UserError if it cannot be written."""
    if output is None:
        yield shown_on(sys.stdout)
        return
    try:
        with open(Path(output).expanduser(), "w", encoding="utf-8", newline="\n") as stream:
            yield stream
    except (OSError, RuntimeError) as error:
        raise UserError(f"output: expected a file that can be written, got {output!r}: {error}") from error


if __name__ == "__main__":
    main()
