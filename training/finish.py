"""The end of a run: its summary, its loss on the test split, samples, and commands to go on with."""

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from board.board import SAMPLE_LINES
from data.config import Unit
from data.corpus import Corpus
from errors import UserError
from files import replacing
from sampling.completion import complete
from sampling.filters import SamplingParams
from terminal import command_line, relative, visible
from training.checkpoint import Checkpoint, load_checkpoint
from training.device import Runtime
from training.distributed import SINGLE_PROCESS
from training.evaluate import evaluate
from training.loop import Interrupted, Outcome
from training.run import Run
from training.run_folder import BEST, LAST

SAMPLE_LENGTH = 400  # characters


def finish(run: Run, outcome: Outcome, parameters: int, corpus: Corpus, runtime: Runtime) -> None:
    """Write `summary.json`, before anything that can fail; then score the test split, print samples and commands."""
    directory, config, loss = run.directory, run.record.config, outcome.best_validation_loss
    unit = corpus.vocabulary.unit
    summary = asdict(outcome) | {
        "parameters": parameters,
        f"bits_per_{unit}": None if loss is None else loss / math.log(2),
        "settings": run.record.settings,
        "seed": config.seed,
        "corpus_sha256": corpus.sha256,
        "baselines": corpus.baselines and asdict(corpus.baselines),
        **run.record.ran_on,
    }
    _write(summary, directory / "summary.json")
    best, losses = load_best(directory / "checkpoints"), list[str]()
    if corpus.test:
        alone = replace(runtime, ranks=SINGLE_PROCESS)  # the other ranks have ended
        decoder, stride = best.decoder().to(runtime.device), config.training.test_stride
        for name, each in [("test", None), ("strided_test", stride)][: 2 if stride else 1]:
            nats = evaluate(decoder, corpus.test, alone, each)
            summary |= {f"{name}_loss": nats, f"{name}_bits_per_{unit}": nats / math.log(2)}
            past = f", windows {each} apart" if each else ""
            losses.append(
                f"its loss on the test split{past} {nats:.4f} nats/{unit[:4]}, {nats / math.log(2):.4f} bits/{unit[:4]}"
            )
        _write(summary, directory / "summary.json")
    _print_samples(best, corpus, config.data.unit is Unit.line, config.seed)
    result = "no validation split" if loss is None else f"best validation loss {loss:.4f} nats/{unit[:4]}"
    print("\n".join([f"{result}; {outcome.seconds:.0f} s", *losses]))
    runs = Path("runs") if directory.is_relative_to(Path.cwd() / "runs") else directory
    print("look inside: ", command_line("tensorboard", "--logdir", str(runs)))
    print("write more:  ", command_line("python", "sample.py", f"checkpoint={relative(directory)}"))


def load_best(folder: Path) -> Checkpoint:
    """The best checkpoint in a run's folder of checkpoints; if it cannot be read, the last, and that is printed."""
    try:
        return load_checkpoint(folder / BEST)
    except UserError as error:
        print(f"{error}; the last checkpoint takes its place")
        return load_checkpoint(folder / LAST)


def _print_samples(best: Checkpoint, corpus: Corpus, lines: bool, seed: int) -> None:
    """Print a text, or several `lines`, that `best` writes."""
    opening = corpus.vocabulary.encode(corpus.vocabulary.opening).tolist()
    end, count = (opening[0], SAMPLE_LINES) if lines else (None, 1)
    params = SamplingParams(temperature=0.8)
    # Another seed than sample.py's default, which is to write something new.
    samples = complete(best.decoder(), opening, SAMPLE_LENGTH, end=end, count=count, params=params, seed=seed + 1)
    print(visible("\n".join(["", *map(corpus.vocabulary.decode, samples), ""])))


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
