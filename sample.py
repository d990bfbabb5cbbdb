"""Write text with a trained model, or score one: `python sample.py --help`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from conf.command import command
from conf.schema import SampleConfig
from errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from data.vocabulary import Vocabulary
    from model.decoder import Decoder
    from sampling.writing import Task


@command("sample", free_text=("checkpoint", "prompt", "prompt_file", "output"), free_texts=("stop",))
def main(config: SampleConfig, _: Path) -> None:
    """Write or score as `config` says. What is not the text itself goes to standard error."""
    # Imported here, so that help and completion need not wait for torch.
    from data.vocabulary import Vocabulary
    from sampling.engine import ready
    from sampling.prompt import read_prompt
    from sampling.scoring import score
    from training.checkpoint import find_checkpoint, load_checkpoint

    given = read_prompt(config.prompt, config.prompt_file)
    file = find_checkpoint(config.checkpoint)
    checkpoint = load_checkpoint(file)
    vocabulary = Vocabulary(checkpoint.vocabulary)
    prompt, note = vocabulary.fitted(given, config.unknown)
    if given and not prompt:
        raise UserError("prompt: expected at least one character of the vocabulary, got none")
    decoder, how = ready(checkpoint.decoder(), config.runtime, 1 if config.score else config.count)
    said = f"{file}, trained for {checkpoint.step} steps; on {how}" + (f"\nprompt: {note}" if note else "")
    if config.score:
        found = score(prompt, decoder, vocabulary, lines=checkpoint.training_lines is not None)
        print(said, file=sys.stderr)
        with opened(config.output) as out:
            out.write(found.as_json() if is_json(config.output) else found.told())
    else:
        task = make_task(config, prompt, decoder, vocabulary, checkpoint.training_lines)
        print(said, file=sys.stderr)
        write_samples(config, task, file)


def make_task(
    config: SampleConfig, prompt: str, decoder: "Decoder", vocabulary: "Vocabulary", training_lines: "Tensor | None"
) -> "Task":
    """What is to be written. Raises UserError if the vocabulary, or a line, has no place for prompt or stops."""
    from data.lines import line_beginning
    from model.choice import Choice
    from model.generate import places_left
    from sampling.writing import Task

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
        choice=Choice(temperature=config.temperature, top_k=config.top_k, top_p=config.top_p, min_p=config.min_p),
        count=config.count,
        seed=config.seed,
        training_lines=None if training_lines is None else training_lines.numpy(),
    )


def write_samples(config: SampleConfig, task: "Task", checkpoint: Path) -> None:
    """Write the samples, and say and show what there is to say and show of them."""
    from tqdm import tqdm

    from model.generate import Continuation
    from sampling.writing import as_json, as_line, as_text, stream, write_all

    written: list[Continuation] = []
    total = None if task.length is None else task.length * task.count
    try:
        with (
            opened(config.output) as out,
            tqdm(total=total, unit=" characters", disable=None if config.output else True) as bar,
        ):
            if is_json(config.output):
                write_all(task, as_json, out, bar, written)
            elif task.training_lines is not None:
                write_all(task, as_line, out, bar, written)
            elif task.count > 1:
                write_all(task, as_text, out, bar, written)
            else:
                stream(task, out, bar, written)
    except KeyboardInterrupt:
        if task.length is not None:  # or else it is how to end it
            raise
    if task.training_lines is not None:
        known = sum(map(task.is_known, written))
        print(f"{known} of {len(written)} were in the training set", file=sys.stderr)
    if config.inspect:
        from sampling.maps import write_maps  # TensorBoard takes its time

        texts = [task.ids + sample.ids for sample in written]
        folder = write_maps(texts, task.decoder, task.vocabulary, checkpoint)
        print(f"attention maps: {folder}; to see them: tensorboard --logdir {folder.parent}", file=sys.stderr)


def is_json(output: str | None) -> bool:
    return output is not None and output.endswith(".jsonl")


@contextmanager
def opened(output: str | None) -> Iterator[TextIO]:
    """The file to write to, by default standard output. Raises UserError if it cannot be written."""
    if output is None:
        yield sys.stdout
        return
    try:
        with open(Path(output).expanduser(), "w", encoding="utf-8", newline="\n") as stream:
            yield stream
    except OSError as error:
        raise UserError(f"output: expected a file that can be written, got {output!r}: {error.strerror}") from error


if __name__ == "__main__":
    main()
