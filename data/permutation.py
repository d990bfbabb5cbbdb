"""Shuffled indices of an epoch: a table if it is small, else a permutation that is computed and needs no memory."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

LARGEST_TABLE = 2**20  # sequences: 8 MiB, made in some hundredths of a second
ROUNDS = 6  # four are enough to look random (Luby and Rackoff 1988) at such lengths

Order = Callable[[np.ndarray], np.ndarray]  # from indices, integers of any shape, to shuffled ones, int64


def shuffled(length: int, random: np.random.Generator) -> Order:
    """The integers below `length` in random order."""
    if length <= LARGEST_TABLE:
        return random.permutation(length).take
    return partial(permuted, length=length, keys=random.integers(2**64, size=ROUNDS, dtype=np.uint64))


def permuted(indices: np.ndarray, length: int, keys: np.ndarray) -> np.ndarray:
    """`indices` (integers of any shape below `length`) in the permutation that `keys` fix, one for each round, int64.

    A Feistel network on pairs of digits, with sums instead of exclusive-or (Black and Rogaway 2002, section 6),
    permutes the integers below a square. What falls beyond `length` is permuted again until it does not (cycle walking,
    their section 5).
    """
    side = np.uint64(math.isqrt(length - 1) + 1)  # of the smallest square of at least `length`

    def in_square(numbers: np.ndarray) -> np.ndarray:
        left, right = np.divmod(numbers, side)
        for key in keys:
            left, right = right, (left + _hash(right ^ key)) % side
        return left * side + right

    found = in_square(indices.astype(np.uint64))
    while (beyond := found >= length).any():
        found[beyond] = in_square(found[beyond])
    return found.astype(np.int64)


def _hash(numbers: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix (Steele et al. 2014), uint64, halved so that a digit can be added."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (numbers ^ (numbers >> np.uint64(31))) >> np.uint64(1)
