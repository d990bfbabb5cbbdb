"""Batches as a pure function of seed and step, so that any run can be repeated or resumed exactly."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from data.mapped import Pages
from data.permutation import Order, shuffled

LARGEST_RESIDENT = 2**30  # bytes of a text that is kept on a GPU
SENT = 2**22  # ids at once, when a text goes to a GPU
STEPS_AT_ONCE = 16  # whose sequences are chosen together, which is cheaper than one by one
NO_TARGET = -100  # where a sequence has ended: the target that torch's cross-entropy ignores


@dataclass(frozen=True)
class Batch:
    """Sequences side by side, the shorter ones padded at their ends; the target of a character is the one after it."""

    inputs: Tensor  # (B, T) int64
    targets: Tensor  # (B, T) int64, NO_TARGET in the padding
    valid_lens: Tensor | None = None  # (B,): the length of each sequence, if there is padding
    part_of: int | None = None  # characters to predict in the whole batch of a step, if this is a part of it
    key: tuple[int, int] = (0, 0)  # a run's seed, and the number in the run of the first sequence

    @property
    def characters(self) -> int:
        """How many there are to predict."""
        return self.targets.numel() if self.valid_lens is None else int(self.valid_lens.sum())

    @property
    def whole(self) -> int:
        """How many there are to predict in the whole batch."""
        return self.characters if self.part_of is None else self.part_of

    @property
    def seed(self) -> int:
        """For what is drawn with this batch: the same whoever computes it, and whenever."""
        return int(np.random.SeedSequence((*self.key, 1)).generate_state(1, np.uint64)[0])

    def split(self, size: int) -> "Iterator[Batch]":
        """Parts of `size` sequences, as wide as the longest of these; the last may have fewer."""
        seed, first = self.key
        for start in range(0, len(self.inputs), size):
            rows = slice(start, start + size)
            lens = None if self.valid_lens is None else self.valid_lens[rows]
            width = self.inputs.shape[1] if lens is None else int(lens.max())
            inputs, targets = self.inputs[rows, :width], self.targets[rows, :width]
            yield Batch(inputs, targets, lens, self.whole, (seed, first + start))

    def to(self, device: torch.device) -> "Batch":
        lens = None if self.valid_lens is None else self.valid_lens.to(device)
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device), valid_lens=lens)


class Sequences(ABC):
    """A text as sequences of at most `context` characters: what an epoch visits once, and evaluation reads in order."""

    ids: np.ndarray
    context: int

    @abstractmethod
    def __len__(self) -> int:
        """Sequences in an epoch."""

    @abstractmethod
    def order(self, random: np.random.Generator) -> Order:
        """The sequences of one epoch, shuffled: from places below len(self) to whatever `batch` knows them by."""

    @abstractmethod
    def characters(self, chosen: np.ndarray) -> int:
        """How many there are to predict in the sequences `chosen` from an order."""

    @abstractmethod
    def batch(self, chosen: np.ndarray) -> Batch:
        """The sequences `chosen` from an order."""

    def ahead(self, chosen: np.ndarray) -> None:  # noqa: B027 - what is in memory needs no preparation
        """Prepare for `chosen` to become the next batch, without waiting."""

    @abstractmethod
    def sequential(self, batch_size: int) -> Iterator[Batch]:
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

    def order(self, random: np.random.Generator) -> Order:
        """Where each window starts."""
        phase, order = random.integers(len(self.ids)), shuffled(len(self), random)
        return lambda places: (phase + self.context * order(places)) % len(self.ids)

    def characters(self, chosen: np.ndarray) -> int:
        return len(chosen) * self.context

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

    def sequential(self, batch_size: int) -> Iterator[Batch]:
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

    def order(self, random: np.random.Generator) -> Order:
        """The numbers of the lines."""
        return shuffled(len(self), random)

    def characters(self, chosen: np.ndarray) -> int:
        return int(self.lengths[chosen].sum())

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

    def sequential(self, batch_size: int) -> Iterator[Batch]:
        """Short lines first, as lines of one length need no padding."""
        numbers = np.argsort(self.lengths, kind="stable")
        for start in range(0, len(self), batch_size):
            yield self.batch(numbers[start : start + batch_size])

    def probe(self, longest: int) -> np.ndarray:
        """The longest line, behind its line break."""
        start = self.starts[self.lengths.argmax()]
        return self.ids[start : start + min(longest, self.lengths.max())]


class Batches:
    """`batches(step)` is the batch of one training step. An epoch visits each sequence once; batches run on across.

    Of each batch it can be one of several `parts`, which are together what it is by itself.
    """

    def __init__(self, sequences: Sequences, batch_size: int, seed: int, part: int = 0, parts: int = 1) -> None:
        """`part`: which of the `parts`. Raises ValueError if there is no sequence."""
        if not len(sequences):
            raise ValueError(f"expected at least context = {sequences.context} characters, got {len(sequences.ids)}")
        self.sequences, self.batch_size, self.seed = sequences, batch_size, seed
        self._part = slice(part * batch_size // parts, (part + 1) * batch_size // parts)
        self._chosen = lru_cache(maxsize=2)(self._chosen_for_steps)
        # They reach into two epochs at the most, unless they are larger than an epoch.
        self._epoch = lru_cache(maxsize=2)(self._order_of_epoch)

    def __call__(self, step: int) -> Batch:
        chosen = self.chosen(step)
        part = self.sequences.batch(chosen[self._part])
        self.sequences.ahead(self.chosen(step + 1)[self._part])
        first = step * self.batch_size + self._part.start
        return replace(part, part_of=self.sequences.characters(chosen), key=(self.seed, first))

    def chosen(self, step: int) -> np.ndarray:
        """The sequences of `step` in all parts, shape (B,)."""
        return self._chosen(step // STEPS_AT_ONCE)[step % STEPS_AT_ONCE]

    def _chosen_for_steps(self, number: int) -> np.ndarray:
        """The sequences of STEPS_AT_ONCE steps, a row each."""
        size = STEPS_AT_ONCE * self.batch_size
        epochs, places = np.divmod(np.arange(number * size, (number + 1) * size), len(self.sequences))
        chosen = [self._epoch(int(epoch))(places[epochs == epoch]) for epoch in np.unique(epochs)]
        return np.concatenate(chosen).reshape(STEPS_AT_ONCE, self.batch_size)

    def _order_of_epoch(self, epoch: int) -> Order:
        return self.sequences.order(np.random.default_rng([self.seed, epoch]))
