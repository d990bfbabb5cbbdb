"""Write text with a trained model: `python sample.py --help`."""

import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from conf.command import command
from conf.schema import SampleConfig
from errors import UserError

if TYPE_CHECKING:
    from data.vocabulary import Vocabulary
    from training.checkpoint import Checkpoint

KNOWN = "\t(in the training set)"  # behind a line that is


@command("sample", free_text=("checkpoint", "prompt", "prompt_file"))
def main(config: SampleConfig, _: Path) -> None:
    """Print `config.count` continuations of the prompt, each behind it. Progress goes to standard error."""
    # Imported here, so that help and completion need not wait for torch.
    from data.vocabulary import Vocabulary
    from training.checkpoint import find_checkpoint, load_checkpoint

    prompt = read_prompt(config)
    file = find_checkpoint(config.checkpoint)
    checkpoint = load_checkpoint(file)
    vocabulary = Vocabulary(checkpoint.vocabulary)
    trained_for = f"{file}, trained for {checkpoint.step} steps"
    if checkpoint.training_lines is None:
        write_text(config, prompt, checkpoint, vocabulary, trained_for)
    else:
        write_lines(config, prompt.rstrip("\r\n"), checkpoint, vocabulary, trained_for)


def write_text(
    config: SampleConfig, prompt: str, checkpoint: "Checkpoint", vocabulary: "Vocabulary", trained_for: str
) -> None:
    """Text that goes on and on: one sample as it is written, several when all are."""
    from model.generate import continuations, generate

    ids = vocabulary.encode(prompt or vocabulary.opening, "prompt").tolist()
    print(trained_for, file=sys.stderr)
    decoder, choice = checkpoint.decoder(), config.choice()
    if config.count == 1:
        print(prompt, end="", flush=True)
        for step in islice(generate(decoder, ids, **choice), config.length):
            print(vocabulary.decode(step), end="", flush=True)
        print()
    else:
        samples = continuations(decoder, ids, config.length, count=config.count, **choice)
        for number, written in enumerate(samples, start=1):
            print(f"--- {number} of {config.count} ---\n{prompt}{vocabulary.decode(written)}")


def write_lines(
    config: SampleConfig, prompt: str, checkpoint: "Checkpoint", vocabulary: "Vocabulary", trained_for: str
) -> None:
    """A line a sample, from its beginning to its end; those that were learned from are marked."""
    from data.lines import is_among, line_beginning
    from model.generate import continuations

    assert checkpoint.training_lines is not None
    ids = line_beginning(prompt, vocabulary, checkpoint.model.context, "prompt")
    print(trained_for, file=sys.stderr)
    samples = continuations(checkpoint.decoder(), ids, config.length, end=ids[0], count=config.count, **config.choice())
    known = 0
    for written in samples:
        line = prompt + vocabulary.decode(written)
        # What was stopped by `length` is no whole line yet.
        is_known = len(written) < config.length and is_among(line, checkpoint.training_lines.numpy())
        known += is_known
        print(line + KNOWN if is_known else line)
    print(f"{known} of {config.count} were in the training set", file=sys.stderr)


def read_prompt(config: SampleConfig) -> str:
    """The prompt as the user gave it; empty if there is none. Raises UserError if its file cannot be read."""
    if config.prompt_file is None:
        return config.prompt or ""
    try:
        file = config.prompt_file
        content = sys.stdin.buffer.read() if file == "-" else Path(file).expanduser().read_bytes()
        prompt = content.decode("utf-8")
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        raise UserError(f"prompt_file: expected UTF-8 text in {config.prompt_file}, got: {error}") from error
    if not prompt:
        raise UserError(f"prompt_file: expected at least one character in {config.prompt_file}, got none")
    return prompt


if __name__ == "__main__":
    main()
