"""Write text with a trained model: `python sample.py --help`."""

import sys
from itertools import islice
from pathlib import Path

from conf.command import command
from conf.schema import SampleConfig
from errors import UserError


@command("sample", free_text=("checkpoint", "prompt", "prompt_file"))
def main(config: SampleConfig, _: Path) -> None:
    """Print `config.count` continuations of the prompt, each behind it. Progress goes to standard error."""
    # Imported here, so that help and completion need not wait for torch.
    from data.vocabulary import Vocabulary
    from model.generate import generate
    from training.checkpoint import find_checkpoint, load_checkpoint

    prompt = read_prompt(config)
    file = find_checkpoint(config.checkpoint)
    checkpoint = load_checkpoint(file)
    vocabulary = Vocabulary(checkpoint.vocabulary)
    ids = vocabulary.encode(prompt or vocabulary.opening, "prompt").tolist()
    print(f"{file}, trained for {checkpoint.step} steps", file=sys.stderr)

    samples = generate(
        checkpoint.decoder(),
        ids,
        count=config.count,
        temperature=config.temperature,
        top_k=config.top_k,
        seed=config.seed,
    )
    steps = islice(samples, config.length)
    if config.count == 1:
        print(prompt, end="", flush=True)
        for step in steps:
            print(vocabulary.decode(step), end="", flush=True)
        print()
    else:
        for number, written in enumerate(zip(*steps, strict=True), start=1):
            print(f"--- {number} of {config.count} ---\n{prompt}{vocabulary.decode(written)}")


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
