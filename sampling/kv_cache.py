"""What a decoder remembers of the ids it has read, so that one more costs no more than that one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from model.config import DecoderConfig, ScoringKind
from model.position import Positions


class Reading:
    """Where the ids stand that are read, and how far back they see: the same for all layers."""

    positions: Positions  # of the ids that are read
    stop: int  # the positions before this one are looked at
    valid_lens: Tensor | None  # how many of these each sequence sees, (B,); None for all


class KVCache:
    """B sequences of at most S ids each, and what every layer remembers of them.

    `expect` says what is read next, `advance` that it has been. Beyond a sequence's end lies rubbish, which is never
    seen and in time written over.
    """

    def __init__(
        self, config: DecoderConfig, B: int, S: int, like: Tensor, *, fixed: bool = False, even: bool = False
    ) -> None:
        """Numbers are kept in the type and on the device of `like`.

        `fixed`: all S positions are looked at, and no shape or address changes from id to id, as CUDA graphs need it.
        `even`: all sequences will always be of one length.
        """
        self.size, self.fixed = S, fixed
        self.held = [0] * B  # ids of each sequence
        self.lens = torch.zeros(B, dtype=torch.long, device=like.device)  # the same, for the device
        self.reading = Reading()
        # Rubbish that is looked at, with a weight of zero, must be finite. Zeros take time where there is much room.
        room = like.new_empty if even and not fixed else like.new_zeros
        self.layers: list[LayerCache] = []
        for heads, head_size in map(config.heads_and_size, config.attention_kinds()):
            if config.scoring == ScoringKind.mean:
                self.layers.append(RunningMean(self.reading, like.new_zeros(B, heads, 1, head_size)))
            else:
                keys, values = (room(B, heads, S, head_size) for _ in range(2))
                self.layers.append(KeysAndValues(self.reading, keys, values))

    def expect(self, T: int, lens: Sequence[int] | None = None) -> None:
        """T ids of each sequence come next: one, or into an empty cache more, `lens` of them if they differ."""
        filled, reading = max(self.held), self.reading
        reading.stop = self.size if self.fixed else filled + T
        if T == 1 and (self.fixed or min(self.held) < filled):
            reading.positions, reading.valid_lens = self.lens[:, None], self.lens + 1
        else:
            reading.positions, reading.valid_lens = slice(filled, filled + T), None
        if lens is not None:
            reading.valid_lens = torch.tensor(lens, device=self.lens.device)

    def advance(self, lens: Sequence[int]) -> None:
        """So many ids of each sequence have been read."""
        self.held = [held + more for held, more in zip(self.held, lens, strict=True)]
        self.lens += lens[0] if len(set(lens)) == 1 else torch.tensor(lens, device=self.lens.device)

    def put(self, rows: Sequence[int], other: "KVCache", which: Sequence[int]) -> None:
        """In place of the sequences `rows`: the sequences `which` of another cache, no larger than this one."""
        into, out = (torch.tensor(positions, device=self.lens.device) for positions in (rows, which))
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            for store, source in zip(mine.stores, theirs.stores, strict=True):
                store[into, :, : source.shape[2]] = source[out]
        self.lens[into] = other.lens[out]
        for row, taken in zip(rows, which, strict=True):
            self.held[row] = other.held[taken]


class LayerCache:
    """What the attention of one layer remembers."""

    def __init__(self, reading: Reading, *stores: Tensor) -> None:
        self.reading, self.stores = reading, stores  # of (B, H, positions, D) each

    def extend(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Take in the keys and values (B, H, T, D) of what is read; return those (B, H, K, D) that it sees."""
        raise NotImplementedError


class KeysAndValues(LayerCache):
    """Every key and every value, in its place."""

    def extend(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = self.stores
        positions, stop = self.reading.positions, self.reading.stop
        if isinstance(positions, slice):
            keys[:, :, positions], values[:, :, positions] = key, value
        else:
            where = positions[:, None, :, None].expand_as(key)
            keys.scatter_(2, where, key)
            values.scatter_(2, where, value)
        return keys[:, :, :stop], values[:, :, :stop]


class RunningMean(LayerCache):
    """The sum of all values, enough where each counts alike: their mean stands for them, as the only value."""

    def extend(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        (total,) = self.stores
        T, lens = value.shape[2], self.reading.valid_lens
        count = self.reading.stop if lens is None else lens[:, None, None, None]
        if T > 1:
            beyond = torch.arange(T, device=value.device)[:, None] >= count
            total.copy_(value.masked_fill(beyond, 0).sum(2, keepdim=True))
            return key, value
        total += value
        mean = total / count
        return mean, mean
