"""Evaluation: the loss of a whole split, and what a run's best checkpoint comes to at its end."""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from board.board import SAMPLE_LINES
from data.batches import NO_TARGET, Batch, Sequences
from data.vocabulary import Vocabulary
from errors import UserError
from model.decoder import Decoder, inference
from sampling.completion import complete
from sampling.filters import SamplingParams
from terminal import shown_on
from training.checkpoint import BEST, LAST, Checkpoint, load_checkpoint
from training.device import Runtime
from training.distributed import SINGLE_PROCESS

EVALUATION_LOGITS = 2**24  # in one forward pass, which bounds its memory
SAMPLE_LENGTH = 400  # characters


def summed_loss(model: nn.Module, batch: Batch, runtime: Runtime) -> Tensor:
    """Cross-entropy in nats, summed over all targets but the padding."""
    batch = batch.to(runtime.device)
    with runtime.autocast():
        logits = model(batch.inputs, batch.valid_lens)
    targets = batch.targets.flatten()
    return F.cross_entropy(logits.float().flatten(0, 1), targets, ignore_index=NO_TARGET, reduction="sum")


def evaluate(decoder: Decoder, sequences: Sequences, runtime: Runtime) -> float:
    """Mean loss in nats/char over all characters of a split but the first, each scored once.

    A text is read in windows of one context that do not overlap, so a character has between one and `context`
    characters before it as its context: the same protocol as the mean over random windows that peers report. A line is
    read from its beginning, and its end is one of the characters scored.
    """
    context, vocabulary_size = decoder.config.context, decoder.output.out_features
    batch_size = min(256, max(1, EVALUATION_LOGITS // (context * vocabulary_size)))
    total, ranks = torch.zeros(2, dtype=torch.float64), runtime.ranks  # nats and characters
    with inference(decoder):
        for batch in islice(sequences.sequential(batch_size), ranks.rank, None, ranks.world_size):
            total += torch.tensor([summed_loss(decoder, batch, runtime), batch.characters], dtype=torch.float64)
    nats, characters = ranks.mean(total).tolist()
    return nats / characters


def load_best(folder: Path) -> Checkpoint:
    """The best checkpoint in a run's folder of checkpoints; if it cannot be read, the last, and that is printed."""
    try:
        return load_checkpoint(folder / BEST)
    except UserError as error:
        print(f"{error}; the last checkpoint takes its place")
        return load_checkpoint(folder / LAST)


def evaluate_test(best: Checkpoint, test: Sequences, runtime: Runtime) -> dict[str, float]:
    """The loss of `best` on the split that nothing was chosen by. On one rank alone: the others have ended."""
    loss = evaluate(best.decoder().to(runtime.device), test, replace(runtime, ranks=SINGLE_PROCESS))
    return {"test_loss": loss, "test_bits_per_character": loss / math.log(2)}


def print_samples(best: Checkpoint, opening: Sequence[int], end: int | None, seed: int) -> None:
    """Print samples of `best` that begin with the ids `opening`: one text, or several lines that stop at `end`."""
    count, params = 1 if end is None else SAMPLE_LINES, SamplingParams(temperature=0.8)
    # Another seed than sample.py's default, which is to write something new.
    samples = complete(best.decoder(), opening, SAMPLE_LENGTH, end=end, count=count, params=params, seed=seed + 1)
    print("", *map(Vocabulary(best.vocabulary).decode, samples), "", sep="\n", file=shown_on(sys.stdout))
