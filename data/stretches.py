"""Parts of a text that lie in stretches all over it, with other parts between them."""

from collections.abc import Iterator
from typing import cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from data.batches import Batch, Windows
from data.permutation import Order, shuffled


class Stretches:
    """Stretches of one length from a text, the same distance apart, indexed as if they were one array."""

    def __init__(self, text: np.ndarray, length: int, period: int) -> None:
        """`text` begins with the first stretch; it may be a np.memmap."""
        self.text, self.length, self.period, self.dtype = text, length, period, text.dtype
        self.rows = sliding_window_view(text, length)[::period]  # (stretches, length), a view

    def __len__(self) -> int:
        return self.rows.size

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def positions(self, indices: np.ndarray) -> np.ndarray:
        """In the text, of what has these indices here."""
        return indices // self.length * self.period + indices % self.length

    def __getitem__(self, where: slice | np.ndarray) -> np.ndarray:
        """Slices are without a step."""
        if isinstance(where, np.ndarray):
            return self.text[self.positions(where)]
        start, stop, _ = where.indices(len(self))
        first = start // self.length
        rows = self.rows[first : -(-stop // self.length)]
        return rows.reshape(-1)[start - first * self.length : stop - first * self.length]


class StretchedWindows(Windows):
    """Windows that lie in one stretch each: none reads across a seam, or in another part of the text.

    The first characters of a stretch have those of the same stretch alone as their context, the very first one is
    context only. In training, each epoch begins to cut all stretches at another position; what does not fill a window
    (fewer than two contexts in a stretch) is other characters each epoch.
    """

    def __init__(self, stretches: Stretches, context: int, resident: Tensor | None = None) -> None:
        """`resident`: as for windows, without what lies between the stretches."""
        super().__init__(cast(np.ndarray, stretches), context, resident)
        self.stretches = stretches

    def __len__(self) -> int:
        return len(self.stretches.rows) * self._in_a_stretch()

    def order(self, random: np.random.Generator) -> Order:
        windows, length = self._in_a_stretch(), self.stretches.length
        phase, order = random.integers(length - windows * self.context), shuffled(len(self), random)

        def starts(indices: np.ndarray) -> np.ndarray:
            stretch, window = np.divmod(order(indices), windows)
            return stretch * length + phase + window * self.context

        return starts

    def prefetch(self, chosen: np.ndarray) -> None:
        Windows(self.stretches.text, self.context, self.resident).prefetch(self.stretches.positions(chosen))

    def sequential(self, batch_size: int) -> Iterator[Batch]:
        for stretch in self.stretches.rows:
            yield from Windows(stretch, self.context).sequential(batch_size)

    def _in_a_stretch(self) -> int:
        """Windows; one fewer than there is room for, if there are several, so that they can begin anywhere."""
        return max(1, (self.stretches.length - 1) // self.context - 1)
