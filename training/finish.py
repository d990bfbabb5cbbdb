"""The end of a run: its summary, its loss on the test split, samples, and commands to go on with."""

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from data.config import Unit
from data.corpus import Corpus
from files import replacing
from terminal import command_line, relative
from training.device import Runtime
from training.evaluate import evaluate_test, load_best, print_samples
from training.loop import Interrupted, Outcome
from training.run import Run


def finish(run: Run, outcome: Outcome, parameters: int, corpus: Corpus, runtime: Runtime) -> None:
    """Write `summary.json`, before anything that can fail; then score the test split, print samples and commands."""
    directory, vocabulary, seed = run.directory, corpus.vocabulary, run.record.config.seed
    summary = asdict(outcome) | {
        "parameters": parameters,
        "bits_per_character": outcome.best_validation_loss / math.log(2),
        "settings": run.record.settings,
        "seed": seed,
        "corpus_sha256": corpus.sha256,
        **run.record.ran_on,
    }
    _write(summary, directory / "summary.json")
    best = load_best(directory / "checkpoints")
    if corpus.test:
        summary |= evaluate_test(best, corpus.test, runtime)
        _write(summary, directory / "summary.json")
    opening = vocabulary.encode(vocabulary.opening).tolist()
    print_samples(best, opening, opening[0] if run.record.config.data.unit is Unit.line else None, seed)
    print(f"best validation loss {outcome.best_validation_loss:.4f} nats/char; {outcome.seconds:.0f} s")
    if corpus.test:
        bits = summary["test_bits_per_character"]
        print(f"its loss on the test split {summary['test_loss']:.4f} nats/char, {bits:.4f} bits/char")
    runs = Path("runs") if directory.is_relative_to(Path.cwd() / "runs") else directory
    print("look inside: ", command_line("tensorboard", "--logdir", str(runs)))
    print("write more:  ", command_line("python", "sample.py", f"checkpoint={relative(directory)}"))


@contextmanager
def explain_interruption(directory: Path) -> Iterator[None]:
    """End the process as the signal asks, after a run that was interrupted has said how to resume it."""
    try:
        yield
    except Interrupted as interrupted:
        resume = command_line("python", "train.py", f"resume={relative(directory)}")
        print(f"interrupted by {interrupted}, and saved; to go on:  {resume}")
        sys.exit(interrupted.exit_code)


def _write(summary: dict[str, object], file: Path) -> None:
    with replacing(file) as stream:
        stream.write(json.dumps(summary, indent=2).encode() + b"\n")
