"""Parts of a text that lie in stretches all over it, with other parts between them."""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from data.batches import Batch, Windows
from data.permutation import Order, shuffled


class StretchedWindows(Windows):
    """Windows that lie in one stretch each: none reads across a seam, or in another part of the text.

    The first characters of a stretch have those of the same stretch alone as their context, the very first one is
    context only. In training, each epoch begins to cut all stretches at another position; what does not fill a window
    (fewer than two contexts in a stretch) is other characters each epoch.
    """

    def __init__(self, text: np.ndarray, context: int, length: int, period: int) -> None:
        """`text` begins with a stretch of `length`, and so it does after each `period`; it may be a np.memmap."""
        super().__init__(text, context)
        self.stretches, self.period = sliding_window_view(text, length)[::period], period
        # One fewer than there is room for, if there are several, so that they can begin anywhere.
        self.in_a_stretch = max(1, (length - 1) // context - 1)

    def __len__(self) -> int:
        return len(self.stretches) * self.in_a_stretch

    def order(self, random: np.random.Generator) -> Order:
        phase = random.integers(self.stretches.shape[1] - self.in_a_stretch * self.context)
        order = shuffled(len(self), random)

        def starts(indices: np.ndarray) -> np.ndarray:
            stretch, window = np.divmod(order(indices), self.in_a_stretch)
            return stretch * self.period + phase + window * self.context

        return starts

    def sequential(self, batch_size: int, stride: int | None = None) -> Iterator[Batch]:
        for stretch in self.stretches:
            yield from Windows(stretch, self.context).sequential(batch_size, stride)
