"""The end of a run: what its best checkpoint loses on the text that was kept for it, and what it writes."""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from board.board import SAMPLE_LINES
from data.batches import Sequences
from data.vocabulary import Vocabulary
from sampling.completion import complete
from sampling.filters import SamplingParams
from terminal import shown_on
from training.checkpoint import BEST, LAST, Checkpoint, load_checkpoint
from training.device import Runtime
from training.distributed import SINGLE_PROCESS
from training.loop import evaluate

SAMPLE_LENGTH = 400  # characters


def best_kept(checkpoints: Path) -> Checkpoint:
    """The best checkpoint in a run's folder of them, or the last where that is gone."""
    if (checkpoints / BEST).exists():
        return load_checkpoint(checkpoints / BEST)
    print(f"the best checkpoint is gone with its folder; now by the last, {checkpoints / LAST}")
    return load_checkpoint(checkpoints / LAST)


def tested(best: Checkpoint, test: Sequences, runtime: Runtime) -> dict[str, float]:
    """What it loses on the split that nothing was chosen by."""
    by_this_alone = replace(runtime, ranks=SINGLE_PROCESS)  # the others have ended
    loss = evaluate(best.decoder().to(runtime.device), test, by_this_alone)
    return {"test_loss": loss, "test_bits_per_character": loss / math.log(2)}


def write_samples(best: Checkpoint, opening: Sequence[int], end: int | None, seed: int) -> None:
    """Print what it writes."""
    count, params = 1 if end is None else SAMPLE_LINES, SamplingParams(temperature=0.8)
    # Another seed than sample.py's own, which is to write something new.
    samples = complete(best.decoder(), opening, SAMPLE_LENGTH, end=end, count=count, params=params, seed=seed + 1)
    print("", *map(Vocabulary(best.vocabulary).decode, samples), "", sep="\n", file=shown_on(sys.stdout))
