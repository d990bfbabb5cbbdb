"""KV cache: keys and values of the tokens read so far."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from model.config import DecoderConfig, ScoringKind
from model.position import Positions

SLOTS = 3  # token shifts of a layer at most: before attention, before feed-forward, at the embedding


class KVCache:
    """Cache of B sequences of at most S tokens: call `prepare`, run the decoder on `layers`, then call `advance`.

    Slots beyond the end of a sequence hold stale values, which are masked and later overwritten.
    """

    def __init__(
        self, config: DecoderConfig, B: int, S: int, like: Tensor, *, static: bool = False, equal_lengths: bool = False
    ) -> None:
        """Keys and values get the dtype and device of `like`.

        `static`: all S positions are attended to, and no shape or address changes from token to token, as CUDA graphs
        need it. `equal_lengths`: all sequences will always have the same length.
        """
        self.size, self.static, self.equal_lengths = S, static, equal_lengths
        self.lengths = [0] * B  # number of tokens in each sequence
        self.device_lengths = torch.zeros(B, dtype=torch.long, device=like.device)  # the same, where a step reads them
        # Stale slots that are attended to with weight zero must be finite, but zeros take time where S is large.
        allocate = like.new_empty if equal_lengths and not static else like.new_zeros
        self.layers: list[KeyValueCache] = []
        for heads, head_size in map(config.heads_and_size, config.attention_kinds()):
            last = [like.new_zeros(B, 1, config.width) for _ in range(SLOTS if config.token_shift else 0)]
            if config.scoring == ScoringKind.mean:
                self.layers.append(RunningMeanCache(last, like.new_zeros(B, 1, heads, 1, head_size)))
            else:
                self.layers.append(KeyValueCache(last, allocate(B, 2, heads, S, head_size)))

    def prepare(self, T: int, lengths: Sequence[int] | None = None) -> None:
        """Set the position of the next T tokens: 1, or more if the cache is empty; `lengths` if they differ."""
        filled = max(self.lengths)
        positions: Positions = slice(filled, filled + T)
        valid_lens = None if lengths is None else torch.tensor(lengths, device=self.device_lengths.device)
        if T == 1 and (self.static or min(self.lengths) < filled):
            positions, valid_lens = self.device_lengths[:, None], self.device_lengths + 1
        for layer in self.layers:
            layer.positions, layer.valid_lens = positions, valid_lens
            layer.stop = self.size if self.static else filled + T

    def advance(self, lengths: Sequence[int]) -> None:
        """Count the tokens that each sequence has read."""
        self.lengths = [length + more for length, more in zip(self.lengths, lengths, strict=True)]
        if self.static or not self.equal_lengths:
            more = lengths[0] if len(set(lengths)) == 1 else torch.tensor(lengths, device=self.device_lengths.device)
            self.device_lengths += more

    def grow(self, S: int) -> None:
        """Make room for S tokens. Changes addresses."""
        for layer in self.layers:
            layer.grow(S)
        self.size = S

    def copy_rows(self, rows: Sequence[int], other: "KVCache", other_rows: Sequence[int]) -> None:
        """Replace the sequences `rows` by `other_rows` of another cache, no larger than this one."""
        target, source = (torch.tensor(each, device=self.device_lengths.device) for each in (rows, other_rows))
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            mine.store[target, :, :, : theirs.store.shape[3]] = theirs.store[source]
            for last, other_last in zip(mine.last, theirs.last, strict=True):
                last[target] = other_last[source]
        for row, other_row in zip(rows, other_rows, strict=True):
            self.lengths[row] = other.lengths[other_row]
        self.device_lengths.copy_(torch.tensor(self.lengths))


class KeyValueCache:
    """All keys and values of one layer, at their positions (a `model.attention_pooling.LayerCache`)."""

    positions: Positions  # of the current tokens
    valid_lens: Tensor | None  # number of keys that each sequence attends to, (B,); None for all
    stop: int  # attention sees the positions before this one

    def __init__(self, last: list[Tensor], store: Tensor) -> None:
        self.last = last  # inputs of token shifts, of the last token: (B, 1, C) in each slot
        self.store = store  # (B, 2, H, S, D): keys, then values

    def grow(self, S: int) -> None:
        self.store = F.pad(self.store, (0, 0, 0, S - self.store.shape[3]))

    def append(self, key_value: Tensor) -> tuple[Tensor, ...]:
        """`update` by one token at the same position of all sequences, key and value in one: (B, 2, H, D)."""
        self.store.select(3, self.stop - 1).copy_(key_value)
        return self.store.narrow(3, 0, self.stop).unbind(1)

    def update(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store keys and values (B, H, T, D) of the current tokens; return those (B, H, K, D) to attend to."""
        keys, values = self.store.unbind(1)
        if isinstance(self.positions, slice):
            keys[:, :, self.positions], values[:, :, self.positions] = key, value
        else:
            index = self.positions[:, None, :, None].expand_as(key)
            keys.scatter_(2, index, key)
            values.scatter_(2, index, value)
        return keys[:, :, : self.stop], values[:, :, : self.stop]

    def previous(self, slot: int, x: Tensor) -> Tensor:
        """The vector before each of the current tokens' x (B, T, C)."""
        last = self.last[slot]
        return last if x.shape[1] == 1 else torch.cat((last, x[:, :-1]), dim=1)

    def keep_last(self, slot: int, x: Tensor) -> None:
        """Store the last of the current tokens' x (B, T, C)."""
        last = self.last[slot]
        if x.shape[1] == 1 or self.valid_lens is None:
            last.copy_(x[:, -1:])
        else:
            last.copy_(x.gather(1, (self.valid_lens - 1)[:, None, None].expand_as(last)))


class RunningMeanCache(KeyValueCache):
    """Sum of all values, for a mean of values: their mean is returned as the only key and value."""

    def grow(self, S: int) -> None:
        """Nothing: the sum takes one position."""

    def update(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        total = self.store[:, 0]
        count = self.stop if self.valid_lens is None else self.valid_lens[:, None, None, None]
        if value.shape[2] > 1:
            padding = torch.arange(value.shape[2], device=value.device)[:, None] >= count
            total.copy_(value.masked_fill(padding, 0).sum(2, keepdim=True))
            return key, value
        total += value
        mean = total / count
        return mean, mean
