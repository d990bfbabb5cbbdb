"""Batches as a pure function of seed and step, so that any run can be repeated or resumed exactly."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from data.mapped import Pages

LARGEST_RESIDENT = 2**30  # bytes of a text that is kept on a GPU
SENT = 2**22  # ids at once, when a text goes to a GPU
NO_TARGET = -100  # where a sequence has ended: the target that torch's cross-entropy ignores


@dataclass(frozen=True)
class Batch:
    """Sequences side by side, the shorter ones padded at their ends; the target of a character is the one after it."""

    inputs: Tensor  # (B, T) int64
    targets: Tensor  # (B, T) int64, NO_TARGET in the padding
    valid_lens: Tensor | None = None  # (B,): the length of each sequence, if there is padding

    @property
    def characters(self) -> int:
        """How many there are to predict."""
        return self.targets.numel() if self.valid_lens is None else int(self.valid_lens.sum())

    def split(self, size: int) -> "Iterator[Batch]":
        """Batches of `size` sequences; the last may be smaller."""
        for start in range(0, len(self.inputs), size):
            part = slice(start, start + size)
            lens = None if self.valid_lens is None else self.valid_lens[part]
            yield Batch(self.inputs[part], self.targets[part], lens)

    def to(self, device: torch.device) -> "Batch":
        lens = None if self.valid_lens is None else self.valid_lens.to(device)
        return Batch(self.inputs.to(device), self.targets.to(device), lens)


class Sequences(ABC):
    """A text as sequences of at most `context` characters: what an epoch visits once, and evaluation reads in order."""

    ids: np.ndarray
    context: int

    @abstractmethod
    def __len__(self) -> int:
        """Sequences in an epoch."""

    @abstractmethod
    def order(self, random: np.random.Generator) -> np.ndarray:
        """The sequences of one epoch, shuffled: whatever `batch` knows them by, shape (len(self),)."""

    @abstractmethod
    def batch(self, chosen: np.ndarray) -> Batch:
        """The sequences `chosen` from an order."""

    def ahead(self, chosen: np.ndarray) -> None:  # noqa: B027 - what is in memory needs no preparation
        """Prepare for `chosen` to become the next batch, without waiting."""

    @abstractmethod
    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Every sequence, `batch_size` at a time, so that each character but the first is a target exactly once."""

    def on(self, device: torch.device) -> "Sequences":  # noqa: ARG002 - others than windows stay where they are
        """The same sequences, kept where `device` makes batches of them faster."""
        return self

    @abstractmethod
    def probe(self, longest: int) -> np.ndarray:
        """Ids of a piece to look at, of at most `longest` characters."""


class Windows(Sequences):
    """A stream of text as windows of `context` characters.

    In training it is a ring. Each epoch starts cutting it at a place of its own; the few characters that do not fill a
    window (fewer than `context`) are others each epoch.
    """

    def __init__(self, ids: np.ndarray, context: int, resident: Tensor | None = None) -> None:
        """`resident`: the same ids on a GPU, where batches are then gathered."""
        self.ids, self.context, self.resident = ids, context, resident
        self._pages = Pages(ids)

    def __len__(self) -> int:
        return len(self.ids) // self.context

    def on(self, device: torch.device) -> "Windows":
        """On a GPU the whole text, unless it is large, in small integers, so that nothing but places is sent there."""
        # Of unsigned types torch can index uint8 alone.
        dtype = torch.uint8 if self.ids.dtype == np.uint8 else torch.int32
        if device.type == "cpu" or len(self.ids) * dtype.itemsize > LARGEST_RESIDENT:
            return self
        resident = torch.empty(len(self.ids), dtype=dtype, device=device)
        for start in range(0, len(self.ids), SENT):  # what is mapped from a file should not be in memory as well
            resident[start : start + SENT] = torch.from_numpy(self.ids[start : start + SENT].astype(np.int32))
        return Windows(self.ids, self.context, resident)

    def order(self, random: np.random.Generator) -> np.ndarray:
        """Where each window starts."""
        phase = random.integers(len(self.ids))
        return (phase + self.context * random.permutation(len(self))) % len(self.ids)

    def batch(self, chosen: np.ndarray) -> Batch:
        if self.resident is None:
            places = (chosen[:, None] + np.arange(self.context + 1)) % len(self.ids)  # (B, T + 1)
            window = torch.from_numpy(self.ids[places].astype(np.int64))
        else:  # the same, there
            device = self.resident.device
            starts = torch.from_numpy(chosen).to(device, non_blocking=True)
            there = (starts[:, None] + torch.arange(self.context + 1, device=device)) % len(self.ids)
            window = self.resident[there].long()
        return Batch(window[:, :-1], window[:, 1:])

    def ahead(self, chosen: np.ndarray) -> None:
        """Has the system read those windows, if they are in a file and not on a GPU."""
        if self._pages.are_mapped and self.resident is None:
            for start in chosen.tolist():
                self._pages.expect(start, start + self.context + 1)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """The last window is as long as what is left, in a batch of its own."""
        last = len(self.ids) - 1  # the last character is a target only
        whole = last - last % self.context
        ends = [*range(0, whole, batch_size * self.context), whole, last]
        for start, end in pairwise(ends):
            if start < end:
                self._pages.expect(end, end + batch_size * self.context)
                span = torch.from_numpy(self.ids[start : end + 1].astype(np.int64))
                shape = (-1, min(self.context, end - start))
                yield Batch(span[:-1].view(shape), span[1:].view(shape))

    def probe(self, longest: int) -> np.ndarray:
        """From the second character on: the first of a text held out belongs to what came before it."""
        return self.ids[1 : longest + 1]


class Lines(Sequences):
    """Each line by itself: from the line break before it, which opens it, to the one after it, which it must predict.

    A line of `context` characters fills all places, so that its end is not predicted: thus long lines may be cut.
    """

    def __init__(self, ids: np.ndarray, context: int, line_break: int) -> None:
        """`ids` begin and end with a line break, and no line in them is empty."""
        self.ids, self.context, self.line_break = ids, context, line_break
        breaks = np.flatnonzero(ids == line_break)
        self.starts = breaks[:-1]
        self.lengths = np.minimum(np.diff(breaks), context)  # (lines,), of the inputs

    def __len__(self) -> int:
        return len(self.starts)

    def order(self, random: np.random.Generator) -> np.ndarray:
        """The numbers of the lines."""
        return random.permutation(len(self))

    def batch(self, chosen: np.ndarray) -> Batch:
        """As wide as the longest of the lines."""
        lens = self.lengths[chosen]
        columns = np.arange(lens.max())
        places = np.minimum(self.starts[chosen, None] + columns, len(self.ids) - 2)  # (B, T); beyond is padding
        valid = columns < lens[:, None]
        inputs = np.where(valid, self.ids[places], self.line_break).astype(np.int64)
        targets = np.where(valid, self.ids[places + 1].astype(np.int64), NO_TARGET)
        lens_needed = None if valid.all() else torch.from_numpy(lens)
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), lens_needed)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Short lines first, as lines of one length need no padding."""
        numbers = np.argsort(self.lengths, kind="stable")
        for start in range(0, len(self), batch_size):
            yield self.batch(numbers[start : start + batch_size])

    def probe(self, longest: int) -> np.ndarray:
        """The longest line, behind its line break."""
        start = self.starts[self.lengths.argmax()]
        return self.ids[start : start + min(longest, self.lengths.max())]


class Batches:
    """`batches(step)` is the batch of one training step. An epoch visits each sequence once; batches run on across."""

    def __init__(self, sequences: Sequences, batch_size: int, seed: int) -> None:
        if not len(sequences):
            raise ValueError(f"expected at least context = {sequences.context} characters, got {len(sequences.ids)}")
        self.sequences, self.batch_size, self.seed = sequences, batch_size, seed
        # A batch reaches into two epochs at the most, unless it is larger than an epoch.
        self._epoch = lru_cache(maxsize=2)(self._epoch_order)

    def __call__(self, step: int) -> Batch:
        batch = self.sequences.batch(self.chosen(step))
        self.sequences.ahead(self.chosen(step + 1))
        return batch

    def chosen(self, step: int) -> np.ndarray:
        """The sequences of `step`, shape (B,)."""
        numbers = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, places = np.divmod(numbers, len(self.sequences))
        return np.concatenate([self._epoch(int(e))[places[epochs == e]] for e in np.unique(epochs)])

    def _epoch_order(self, epoch: int) -> np.ndarray:
        return self.sequences.order(np.random.default_rng([self.seed, epoch]))
