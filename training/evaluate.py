"""Cross-entropy of a batch, and of a whole split."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.batches import NO_TARGET, Batch, Sequences
from model.decoder import Decoder, inference
from training.device import Runtime

EVALUATION_LOGITS, EVALUATION_CHARACTERS = 2**24, 2**14  # in one forward pass, which bounds its memory


def summed_loss(model: nn.Module, batch: Batch, runtime: Runtime) -> Tensor:
    """Cross-entropy in nats, summed over all targets but the padding."""
    batch = batch.to(runtime.device)
    with runtime.autocast():
        logits = model(batch.inputs, batch.valid_lens)
    targets = batch.targets.flatten()
    return F.cross_entropy(logits.float().flatten(0, 1), targets, ignore_index=NO_TARGET, reduction="sum")


def evaluate(decoder: Decoder, sequences: Sequences, runtime: Runtime, stride: int | None = None) -> float:
    """Mean loss in nats/char over all characters of a split, or of each of its stretches, but the first, each once.

    A text is read in windows of one context that do not overlap, so a character has between one and `context`
    characters before it as its context: the same protocol as the mean over random windows that peers report. With a
    `stride` below the context windows begin that far apart, and all have more than `context - stride` before them but
    those at the beginning. A line is read from its beginning, and its end is one of the characters scored. On a CPU
    every thread reads windows of its own: threads that share each operation wait for each other hundreds of times in a
    batch.
    """
    context, vocabulary_size = decoder.config.context, decoder.output.out_features
    batch_size = max(1, min(EVALUATION_CHARACTERS, EVALUATION_LOGITS // vocabulary_size) // context)
    threads = torch.get_num_threads() if runtime.device.type == "cpu" else 1
    if batch_size < threads:  # as few windows as that are long ones
        threads = 1
    total, ranks = torch.zeros(2, dtype=torch.float64), runtime.ranks  # nats and characters

    @torch.no_grad()  # every thread has a mode of its own
    def nats_of(batch: Batch) -> float:
        return summed_loss(decoder, batch, runtime).item()

    with inference(decoder), one_thread_each(threads) as pool:
        for batch in islice(sequences.sequential(batch_size, stride), ranks.rank, None, ranks.world_size):
            parts = batch.split(-(-len(batch.inputs) // threads))
            nats = sum((pool.map if threads > 1 else map)(nats_of, parts))
            total += torch.tensor([nats, batch.characters], dtype=torch.float64)
    nats, characters = ranks.mean(total).tolist()
    return nats / characters


@contextmanager
def one_thread_each(count: int) -> Iterator[ThreadPoolExecutor]:
    """`count` threads whose operations have one thread each."""

    def begin() -> None:
        torch.get_num_threads()  # the first look takes the number of all threads, which would replace the next
        torch.set_num_threads(1)

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(count, initializer=begin) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)
