"""Losses of counted n-grams, beside which a model's loss means something."""

import math
from dataclasses import dataclass

import numpy as np

PIECE = 2**20  # characters read at once
SAMPLE = 16  # pieces of the training split that are counted, at most
FALLBACK = 0.5, 1.0, 1.5  # KenLM's discounts where too few n-grams are rare to estimate them


@dataclass(frozen=True)
class Baselines:
    """Losses of n-grams on the validation split."""

    losses: dict[str, float]  # nats/char
    sample: int | None  # characters of the training split that were counted, if not all

    def describe(self, unit: str) -> str:
        """In one line; `unit`: what a character is called."""
        sample = f" in a sample of {self.sample:,} {unit}s" if self.sample else ""
        uniform, unigram, trigram = self.losses.values()
        known = f"{uniform:.4f} nats/{unit[:4]} guessing evenly, {unigram:.4f} by frequency"
        return f"{known}, {trigram:.4f} by the two {unit}s before (interpolated trigrams{sample})"


def baselines(training: np.ndarray, validation: np.ndarray, size: int, line_break: int | None = None) -> Baselines:
    """Losses on `validation` but the first of each stretch, from counts in `training`: ids below `size`.

    With a `line_break` a line is a sequence, and nothing before the line break that opens it is context; its end counts
    though it was cut. Of a long `training`, evenly spaced pieces are counted. Both are as `pieces` takes them.
    """
    known, scored = pieces(training), pieces(validation)
    count = min(len(known), SAMPLE * (PIECE + 1) // len(known[0]))
    read = [known[i] for i in np.linspace(0, len(known) - 1, count).astype(int)]
    unigram, trigram = (loss(read, scored, size, order, line_break) for order in (1, 3))
    losses = {"uniform": math.log(size), "unigram": unigram, "trigram": trigram}
    return Baselines(losses, sum(map(len, read)) if len(read) < len(known) else None)


def pieces(ids: np.ndarray) -> list[np.ndarray]:
    """All ids (n,) or (stretches, n), a part at a time, which begins with the last one of the part before it.

    They may be in a np.memmap, and stay there.
    """
    rows = np.atleast_2d(ids)
    return [row[start : start + PIECE + 1] for row in rows for start in range(0, rows.shape[1] - 1, PIECE)]


def loss(known: list[np.ndarray], scored: list[np.ndarray], size: int, order: int, line_break: int | None) -> float:
    """Mean loss in nats/char of the n-grams of `order` counted in pieces of ids, on all but the first id of each."""
    seen, counts = _count(known, size, order, line_break)
    asked, occurrences = _count(scored, size, order, line_break)
    ngrams = np.union1d(seen, asked)
    in_training = np.zeros(len(ngrams))
    in_training[np.searchsorted(ngrams, seen)] = counts
    probabilities = kneser_ney(ngrams, in_training, size, order)[np.searchsorted(ngrams, asked)]
    return float(-np.log(probabilities) @ occurrences / occurrences.sum())


def kneser_ney(ngrams: np.ndarray, counts: np.ndarray, size: int, order: int) -> np.ndarray:
    """Probability of the last character of each n-gram given those before it, (n,): interpolated modified Kneser-Ney.

    `ngrams`: sorted distinct numbers of `order` digits in base `size`, (n,). `counts`: in the training text, all of
    whose n-grams are there; 0 for others that are asked for. Source: Chen and Goodman 1998; below order 1 is uniform.
    """
    lower: np.ndarray | float = 1 / size
    if order > 1:
        shorter, suffix = np.unique(ngrams % size ** (order - 1), return_inverse=True)
        continuations = np.bincount(suffix, counts > 0)  # distinct characters seen before it
        lower = kneser_ney(shorter, continuations, size, order - 1)[suffix]
    contexts = ngrams // size
    context = np.cumsum(np.diff(contexts, prepend=contexts[:1]) > 0)
    discount = np.array([0, *_discounts(counts)])[np.minimum(counts, 3).astype(int)]
    total, freed = np.bincount(context, counts)[context], np.bincount(context, discount)[context]
    return np.where(total > 0, (counts - discount + freed * lower) / np.maximum(total, 1), lower)


def _discounts(counts: np.ndarray) -> tuple[float, ...]:
    """Of n-grams that occur once, twice and more often."""
    n1, n2, n3, n4 = (np.count_nonzero(counts == count) for count in range(1, 5))
    if n1 and n2 and n3:
        y = n1 / (n1 + 2 * n2)
        found = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
        if min(found) > 0:
            return found
    return FALLBACK


def _count(pieces: list[np.ndarray], size: int, order: int, line_break: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Distinct n-grams, sorted, and how often each occurs."""
    found = [np.unique(_ngrams(ids, size, order, line_break), return_counts=True) for ids in pieces]
    ngrams, index = np.unique(np.concatenate([some for some, _ in found]), return_inverse=True)
    return ngrams, np.bincount(index, np.concatenate([counts for _, counts in found]))


def _ngrams(ids: np.ndarray, size: int, order: int, line_break: int | None) -> np.ndarray:
    """The n-gram that ends at each id but the first; before the beginning are copies of the first."""
    before, numbers = ids[:-1].astype(np.int64), ids[1:].astype(np.int64)
    for digit in range(1, order):
        numbers += before * size**digit
        earlier = np.concatenate([before[:1], before[:-1]])
        before = earlier if line_break is None else np.where(before == line_break, line_break, earlier)
    return numbers
