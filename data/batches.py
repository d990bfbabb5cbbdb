"""Batches as a pure function of seed and step, so that any run can be repeated or resumed exactly."""

import os
from collections.abc import Iterator
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from data.permutation import Order, shuffled

LARGEST_RESIDENT = 2**30  # bytes of a text that is kept on a GPU
STEPS_AT_ONCE = 16  # whose sequences are chosen together, which is cheaper than one by one
NO_TARGET = -100  # where none is scored, as behind the end of a sequence: torch's cross-entropy ignores it


@dataclass(frozen=True)
class Batch:
    """Sequences side by side, the shorter ones padded at their ends; the target of a character is the one after it."""

    inputs: Tensor  # (B, T) int64
    targets: Tensor  # (B, T) int64, NO_TARGET in the padding
    valid_lens: Tensor | None = None  # (B,): the length of each sequence, if there is padding
    part_of: int | None = None  # targets in the global batch of the step, if this is a part of it
    key: tuple[int, int] = (0, 0)  # the run's seed, and the index of the first sequence in the run

    @property
    def characters(self) -> int:
        """Targets in this batch."""
        return int((self.targets != NO_TARGET).sum())

    @property
    def whole(self) -> int:
        """Targets in the global batch of the step."""
        return self.characters if self.part_of is None else self.part_of

    @property
    def seed(self) -> int:
        """For random numbers used with this batch, such as dropout: the same on any rank, and when resumed."""
        return int(np.random.SeedSequence((*self.key, 1)).generate_state(1, np.uint64)[0])

    def split(self, size: int) -> "Iterator[Batch]":
        """Micro-batches of `size` sequences, as wide as the longest of these; the last may have fewer."""
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


def window_starts(length: int, context: int, stride: int) -> range:
    """Starts of windows of `context` characters that cover `length`; the end may cut the last one short."""
    return range(0, max(length - context + stride, min(length, 1)), stride)


class Windows:
    """A stream of text as windows of `context` characters.

    In training it is a ring. Each epoch starts to cut it at another position; the characters that do not fill a window
    (fewer than `context`) are others each epoch.
    """

    line_break: int | None = None  # sequences begin anywhere

    def __init__(self, ids: np.ndarray, context: int, resident: Tensor | None = None) -> None:
        """`ids` may be a np.memmap or a slice of one. `resident`: the same ids on a GPU, where batches are gathered."""
        self.ids, self.context, self.resident = ids, context, resident
        self.stretches = ids[None]  # (1, characters): each row is read by itself

    def __len__(self) -> int:
        """Sequences in an epoch."""
        return len(self.ids) // self.context

    def on(self, device: torch.device) -> "Windows":
        """The whole text on a GPU, unless it is large, in small integers, so that only positions are sent there."""
        # Of unsigned types torch can index uint8 alone.
        dtype = torch.uint8 if self.ids.dtype == np.uint8 else torch.int32
        if device.type == "cpu" or len(self.ids) * dtype.itemsize > LARGEST_RESIDENT:
            return self
        sent = copy(self)
        sent.resident = torch.tensor(self.ids, dtype=dtype, device=device)
        return sent

    def order(self, random: np.random.Generator) -> Order:
        """The sequences of one epoch, shuffled: from indices below len(self) to positions at which windows start."""
        phase, order = random.integers(len(self.ids)), shuffled(len(self), random)
        return lambda indices: (phase + self.context * order(indices)) % len(self.ids)

    def characters(self, chosen: np.ndarray) -> int:
        """Targets in the sequences `chosen` from an order."""
        return len(chosen) * self.context

    def batch(self, chosen: np.ndarray) -> Batch:
        """The sequences `chosen` from an order."""
        if self.resident is None:
            positions = (chosen[:, None] + np.arange(self.context + 1)) % len(self.ids)  # (B, T + 1)
            window = torch.from_numpy(self.ids[positions].astype(np.int64))
        else:
            device = self.resident.device
            starts = torch.from_numpy(chosen).to(device, non_blocking=True)
            on_device = (starts[:, None] + torch.arange(self.context + 1, device=device)) % len(self.ids)
            window = self.resident[on_device].long()
        return Batch(window[:, :-1], window[:, 1:])

    def prefetch(self, chosen: np.ndarray) -> None:
        """Have the system begin to read the windows `chosen`, if they are in a file and not on a GPU."""
        if not isinstance(self.ids, np.memmap) or self.resident is not None or not hasattr(os, "posix_fadvise"):
            return
        file = self.ids.base if isinstance(self.ids.base, np.memmap) else self.ids  # all of it, if this is a slice
        first, size = self.ids.ctypes.data - file.ctypes.data, self.ids.itemsize
        with suppress(OSError), open(str(file.filename), "rb") as stream:  # removed since: it is only advice
            for start in chosen.tolist():
                offset, length = first + start * size, (self.context + 1) * size
                os.posix_fadvise(stream.fileno(), offset, length, os.POSIX_FADV_WILLNEED)

    def sequential(self, batch_size: int, stride: int | None = None) -> Iterator[Batch]:
        """Windows that begin `stride` characters apart, by default one context, `batch_size` at a time.

        Each character but the first is a target exactly once, in the first window that reaches it. The last one is as
        long as what is left, in a batch of its own.
        """
        last = len(self.ids) - 1  # the last character is a target only
        stride = stride or self.context
        starts, shared = np.array(window_starts(last, self.context, stride)), self.context - stride
        for first in range(0, len(starts), batch_size):
            several = starts[first : first + batch_size]
            for rows in (several[several + self.context <= last], several[several + self.context > last]):
                if len(rows):
                    positions = rows[:, None] + np.arange(min(self.context, last - rows[0]) + 1)  # (B, T + 1)
                    window = torch.from_numpy(self.ids[positions].astype(np.int64))
                    targets = window[:, 1:].clone()
                    targets[int(rows[0] == 0) :, :shared] = NO_TARGET
                    yield Batch(window[:, :-1], targets)

    def probe(self, longest: int) -> np.ndarray:
        """Ids of a text to show attention on, of at most `longest` characters.

        From the second character on: the first one of a validation split belongs to the text before it.
        """
        return self.ids[1 : longest + 1]

    def sample(self, count: int, longest: int) -> Batch:
        """At most `count` windows of `longest` characters, spread evenly over the stretches; none overlap."""
        stretches, length = self.stretches.shape
        in_a_stretch = (length - 1) // longest  # windows that do not overlap
        spread = np.linspace(0, stretches * in_a_stretch - 1, min(count, stretches * in_a_stretch)).round()
        rows, numbers = np.divmod(spread.astype(np.int64), in_a_stretch)
        starts = numbers * (length - 1 - longest) // max(1, in_a_stretch - 1)
        positions = starts[:, None] + np.arange(longest + 1)
        windows = torch.from_numpy(self.stretches[rows[:, None], positions].astype(np.int64))  # (B, T + 1)
        return Batch(windows[:, :-1], windows[:, 1:])


class Lines:
    """Each line by itself: from the line break before it, which opens it, to the one after it, which it must predict.

    A line of `context` characters leaves no position for the line break after it: thus long lines may be cut.
    """

    def __init__(self, ids: np.ndarray, context: int, line_break: int) -> None:
        """`ids` begin and end with a line break, and no line in them is empty."""
        self.ids, self.context, self.line_break = ids, context, line_break
        self.stretches = ids[None]
        breaks = np.flatnonzero(ids == line_break).astype(np.int32 if len(ids) < 2**31 else np.int64)
        self.starts = breaks[:-1]
        self.lengths = np.minimum(np.diff(breaks), context)  # (lines,), of the inputs

    def __len__(self) -> int:
        return len(self.starts)

    def order(self, random: np.random.Generator) -> Order:
        """The indices of the lines."""
        return shuffled(len(self), random)

    def characters(self, chosen: np.ndarray) -> int:
        return int(self.lengths[chosen].sum())

    def batch(self, chosen: np.ndarray) -> Batch:
        """As wide as the longest of the lines."""
        lens = self.lengths[chosen].astype(np.int64)
        columns = np.arange(lens.max())
        positions = np.minimum(self.starts[chosen, None] + columns, len(self.ids) - 2)  # (B, T); beyond is padding
        valid = columns < lens[:, None]
        inputs = np.where(valid, self.ids[positions], self.line_break).astype(np.int64)
        targets = np.where(valid, self.ids[positions + 1].astype(np.int64), NO_TARGET)
        valid_lens = None if valid.all() else torch.from_numpy(lens)
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), valid_lens)

    def prefetch(self, chosen: np.ndarray) -> None:
        """Nothing: lines are in memory."""

    def on(self, _: torch.device) -> "Lines":
        """Themselves: lines are not copied to a GPU."""
        return self

    def sequential(self, batch_size: int, _: int | None = None) -> Iterator[Batch]:
        """Every line once, from its beginning. Short lines first, as lines of one length need no padding."""
        shortest_first = np.argsort(self.lengths, kind="stable")
        for start in range(0, len(self), batch_size):
            yield self.batch(shortest_first[start : start + batch_size])

    def probe(self, longest: int) -> np.ndarray:
        """The longest line, behind its line break."""
        start = self.starts[self.lengths.argmax()]
        return self.ids[start : start + min(longest, self.lengths.max())]

    def sample(self, count: int, longest: int) -> Batch:
        """At most `count` lines, spread evenly over all, cut to `longest` characters."""
        spread = np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(np.int64)
        return Lines(self.ids, min(longest, self.context), self.line_break).batch(spread)


Sequences = Windows | Lines  # of at most `context` characters, with the same methods


class Batches:
    """`batches(step)` is what one rank takes of the global batch of a training step.

    An epoch visits each sequence once; batches go on across epochs.
    """

    def __init__(self, sequences: Sequences, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        """`batch_size`: sequences in the global batch. Raises ValueError if there is no sequence."""
        if not len(sequences):
            raise ValueError(f"expected at least context = {sequences.context} characters, got {len(sequences.ids)}")
        self.sequences, self.batch_size, self.seed = sequences, batch_size, seed
        self._rows = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
        self._chosen = lru_cache(maxsize=2)(self._chosen_for_steps)
        # They reach into two epochs at the most, unless they are larger than an epoch.
        self._epoch = lru_cache(maxsize=2)(self._order_of_epoch)

    def __call__(self, step: int) -> Batch:
        chosen = self.chosen(step)
        batch = self.sequences.batch(chosen[self._rows])
        self.sequences.prefetch(self.chosen(step + 1)[self._rows])
        first = step * self.batch_size + self._rows.start
        return replace(batch, part_of=self.sequences.characters(chosen), key=(self.seed, first))

    def chosen(self, step: int) -> np.ndarray:
        """The sequences in the global batch of `step`, shape (B,)."""
        return self._chosen(step // STEPS_AT_ONCE)[step % STEPS_AT_ONCE]

    def _chosen_for_steps(self, group: int) -> np.ndarray:
        """The sequences of STEPS_AT_ONCE steps, a row each."""
        size = STEPS_AT_ONCE * self.batch_size
        epochs, indices = np.divmod(np.arange(group * size, (group + 1) * size), len(self.sequences))
        chosen = [self._epoch(int(epoch))(indices[epochs == epoch]) for epoch in np.unique(epochs)]
        return np.concatenate(chosen).reshape(STEPS_AT_ONCE, self.batch_size)

    def _order_of_epoch(self, epoch: int) -> Order:
        return self.sequences.order(np.random.default_rng([self.seed, epoch]))
