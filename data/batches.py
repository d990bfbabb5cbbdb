"""Batches as a pure function of seed and step, so that any run can be repeated or resumed exactly."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor


class Batches:
    """`batches(step)` gives the inputs and targets of one training step.

    The text is a ring cut into windows of `context` characters. An epoch visits its windows once, in an order of
    its own, and starts cutting at a place of its own; the few characters that do not fill a window (fewer than
    `context`) are others each epoch. Batches run on across epochs.
    """

    def __init__(self, ids: np.ndarray, batch_size: int, context: int, seed: int) -> None:
        if len(ids) < context + 1:
            raise ValueError(f"expected at least context + 1 = {context + 1} characters, got {len(ids)}")
        self.ids, self.batch_size, self.context, self.seed = ids, batch_size, context, seed
        self.windows = len(ids) // context  # in an epoch
        # A batch reaches into two epochs at the most, unless it is larger than an epoch.
        self._epoch = lru_cache(maxsize=2)(self._epoch_starts)

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of `step`, both (B, T) int64; the target of a character is the one after it."""
        starts = self.starts(step)
        places = (starts[:, None] + np.arange(self.context + 1)) % len(self.ids)  # (B, T + 1)
        window = torch.from_numpy(self.ids[places].astype(np.int64))
        return window[:, :-1], window[:, 1:]

    def starts(self, step: int) -> np.ndarray:
        """Where in the text each window of `step` begins, shape (B,)."""
        numbers = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, places = np.divmod(numbers, self.windows)
        return np.concatenate([self._epoch(int(e))[places[epochs == e]] for e in np.unique(epochs)])

    def _epoch_starts(self, epoch: int) -> np.ndarray:
        random = np.random.default_rng([self.seed, epoch])
        phase = random.integers(len(self.ids))
        return (phase + self.context * random.permutation(self.windows)) % len(self.ids)


def in_order(ids: np.ndarray, batch_size: int, context: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cover `ids` from front to back, each character but the first a target exactly once: (B, T) pairs.

    The last window is as long as what is left, in a batch of its own.
    """
    last = len(ids) - 1  # the last character is a target only
    whole = last - last % context
    ends = [*range(0, whole, batch_size * context), whole, last]
    for start, end in pairwise(ends):
        if start < end:
            span = torch.from_numpy(ids[start : end + 1].astype(np.int64))
            shape = (-1, min(context, end - start))
            yield span[:-1].view(shape), span[1:].view(shape)
