"""How an epoch is shuffled: by a table where it is small, else place by place, which needs no memory at any length."""

import math
from collections.abc import Callable

import numpy as np

LARGEST_TABLE = 2**20  # sequences: 8 MiB, made in some hundredths of a second
ROUNDS = 6  # four are enough to look random (Luby and Rackoff 1988) in so large a square

Order = Callable[[np.ndarray], np.ndarray]  # from places, integers of any shape, to what is there, int64


def shuffled(length: int, random: np.random.Generator) -> Order:
    """The numbers below `length` in random order."""
    if length <= LARGEST_TABLE:
        return random.permutation(length).take
    return Permutation(length, random.integers(2**64, size=ROUNDS, dtype=np.uint64))


class Permutation:
    """The numbers below `length` in an order that the keys fix, one for each round.

    A Feistel network on pairs of digits, with sums instead of exclusive-or (Black and Rogaway 2002, section 6), maps
    the numbers below a square to themselves, one to one. The square is little larger than `length`, and what falls
    beyond is mapped again until it does not (their section 5).
    """

    def __init__(self, length: int, keys: np.ndarray) -> None:
        self.length, self._keys = length, keys
        self._side = np.uint64(math.isqrt(length - 1) + 1)  # of the smallest square that holds them

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """What is at places (integers of any shape, each below `length`), int64."""
        found = self._mapped(places.astype(np.uint64))
        while (beyond := found >= self.length).any():
            found[beyond] = self._mapped(found[beyond])
        return found.astype(np.int64)

    def _mapped(self, numbers: np.ndarray) -> np.ndarray:
        left, right = np.divmod(numbers, self._side)
        for key in self._keys:
            left, right = right, (left + _mixed(right ^ key)) % self._side
        return left * self._side + right


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Every bit of what comes depends on all of a number's, uint64 (the finalizer of Steele et al. 2014, SplitMix)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (numbers ^ (numbers >> np.uint64(31))) >> np.uint64(1)  # so that a digit can be added
