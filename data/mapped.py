"""Ids that stay in a file: the system reads what is used, and forgets it when memory is needed."""

import mmap
from pathlib import Path

import numpy as np


def mapped(file: Path, dtype: np.dtype) -> np.ndarray:
    """The numbers in `file`, read-only. Raises OSError or ValueError if they cannot be had."""
    with open(file, "rb") as stream:
        return np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), dtype)


class Pages:
    """Where an array lies in a file that is mapped; nowhere, if it is in memory."""

    def __init__(self, ids: np.ndarray) -> None:
        owner: object = ids
        while isinstance(owner, np.ndarray | memoryview):
            owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
        # Windows has no such advice to give.
        self._map = owner if isinstance(owner, mmap.mmap) and hasattr(owner, "madvise") else None
        self._bytes = ids.itemsize
        if self._map is not None:
            self._first = ids.ctypes.data - np.frombuffer(self._map, np.uint8).ctypes.data
            self._end = self._first + ids.nbytes
            # What is read is said beforehand: the system need not guess, and read around each place by the way.
            self._map.madvise(mmap.MADV_RANDOM)

    @property
    def are_mapped(self) -> bool:
        return self._map is not None

    def expect(self, start: int, stop: int) -> None:
        """Have the ids from `start` to `stop` read, without waiting for them."""
        if self._map is not None:
            first = self._first + start * self._bytes
            first -= first % mmap.PAGESIZE
            end = min(self._first + stop * self._bytes, self._end)
            if first < end:
                self._map.madvise(mmap.MADV_WILLNEED, first, end - first)
