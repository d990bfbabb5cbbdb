"""A decoder of pre-norm blocks: character ids to the logits of each next character."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.attention import MultiHeadAttention, SingleHeadAttention
from model.config import AttentionKind, DecoderConfig, PositionKind
from model.pooling import AttentionPooling
from model.position import LearnedPosition, NoPosition, Positions, RotaryPosition, SinusoidalPosition
from model.scoring import Additive, Bilinear, make_scoring
from sampling.kv_cache import KVCache, LayerCache


class Norm(nn.LayerNorm):
    """Layer normalization without parameters: the linear map behind it can learn any gain by itself."""

    def __init__(self, width: int) -> None:
        super().__init__(width, elementwise_affine=False)


class FeedForward(nn.Module):
    """Each position by itself through a wider hidden layer (Vaswani et al. 2017, section 3.3)."""

    def __init__(self, width: int, hidden: int, bias: bool) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden, bias=bias)
        self.output = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(F.gelu(self.hidden(x)))  # (B, T, C)


class Block(nn.Module):
    """Attention moves information between positions, feed-forward works on each; both add to the stream."""

    def __init__(self, config: DecoderConfig, kind: AttentionKind) -> None:
        super().__init__()
        self.attention_norm = Norm(config.width)
        heads, head_size = config.heads_and_size(kind)
        pooling = AttentionPooling(
            make_scoring(config.scoring, heads, head_size),
            rotary=RotaryPosition(config.context, head_size) if config.position == PositionKind.rotary else None,
            dropout=config.attention_dropout,
        )
        self.attention: SingleHeadAttention | MultiHeadAttention
        match kind:
            case AttentionKind.single:
                self.attention = SingleHeadAttention(config.width, head_size, pooling)
            case AttentionKind.multi:
                self.attention = MultiHeadAttention(config.width, heads, config.bias, pooling)
        self.feed_forward_norm = Norm(config.width)
        self.feed_forward = FeedForward(config.width, config.feed_forward or 4 * config.width, config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, valid_lens: Tensor | None = None, layer_cache: LayerCache | None = None) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), valid_lens, layer_cache))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class Decoder(nn.Module):
    """Embedding and position, blocks, a final norm, and the output layer."""

    def __init__(self, config: DecoderConfig, vocabulary_size: int, generator: torch.Generator | None = None) -> None:
        """`generator` draws the initial weights. Raises ValueError if `config` has problems."""
        super().__init__()
        if problems := config.problems():
            raise ValueError("; ".join(problems))
        self.config = config
        self.embedding = nn.Embedding(vocabulary_size, config.width)
        self.position: SinusoidalPosition | LearnedPosition | NoPosition
        match config.position:
            case PositionKind.sinusoidal:
                self.position = SinusoidalPosition(config.context, config.width)
            case PositionKind.learned:
                self.position = LearnedPosition(config.context, config.width)
            case PositionKind.rotary | PositionKind.none:  # in the attention of each block, or nowhere
                self.position = NoPosition()
        self.dropout = nn.Dropout(config.dropout)
        blocks = nn.ModuleList(Block(config, kind) for kind in config.attention_kinds())
        self.blocks = cast(Sequence[Block], blocks)
        self.norm = Norm(config.width)
        self.output = nn.Linear(config.width, vocabulary_size, bias=False)
        self._initialise(generator)

    def forward(self, ids: Tensor, valid_lens: Tensor | None = None) -> Tensor:
        """Ids (B, T) -> logits (B, T, V) of the character after each. Raises ValueError if T exceeds the context.

        Where sequences are padded at the end, `valid_lens` (B,) says how long each is, and no character attends to
        padding. Causality alone would keep the logits of what is there from it, but not those of the padding.
        """
        return self.logits(self.read(ids, valid_lens))

    def read(self, ids: Tensor, valid_lens: Tensor | None = None, cache: KVCache | None = None) -> Tensor:
        """Ids (B, T) -> the last block's output (B, T, C). A `cache`, which must expect them, remembers them."""
        if cache is None:
            x = self.embed(ids)
            for block in self.blocks:
                x = block(x, valid_lens)
            return x
        x = self.embed(ids, cache.reading.positions)
        for block, layer_cache in zip(self.blocks, cache.layers, strict=True):
            x = block(x, cache.reading.valid_lens, layer_cache)
        return x

    def logits(self, x: Tensor) -> Tensor:
        """The last block's output (..., C) -> the logits (..., V) of the character after each."""
        return self.output(self.norm(x))

    def embed(self, ids: Tensor, positions: Positions | None = None) -> Tensor:
        """Ids (B, T) -> the first block's input (B, T, C); by default they are of the positions 0 to T - 1."""
        T = ids.shape[1]
        if self.config.context < T:
            raise ValueError(f"expected at most {self.config.context} positions, got {T}")
        # The square root brings embeddings of norm one to the size of the encoding (Vaswani et al. 2017, section 3.4).
        return self.dropout(self.position(self.embedding(ids) * math.sqrt(self.config.width), positions))

    def linear_weights(self) -> list[nn.Parameter]:
        """The matrices of all linear maps in the blocks."""
        linear = (module for block in self.blocks for module in block.modules() if isinstance(module, nn.Linear))
        return [cast(nn.Parameter, module.weight) for module in linear]

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def _initialise(self, generator: torch.Generator | None) -> None:
        """Keep the variance of what flows through each map; let all blocks together add as much as they get."""
        for module in self.modules():
            match module:
                case nn.Linear():
                    nn.init.normal_(module.weight, std=module.in_features**-0.5, generator=generator)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
                case Bilinear() | Additive() | LearnedPosition():
                    module.initialise(generator)
        nn.init.normal_(self.embedding.weight, std=self.config.width**-0.5, generator=generator)
        # Every block adds to the stream twice (Radford et al. 2019, section 2.3).
        share = (2 * self.config.layers) ** -0.5
        with torch.no_grad():
            for block in self.blocks:
                block.attention.residual_projection().weight.mul_(share)
                block.feed_forward.output.weight.mul_(share)


@contextmanager
def inference(decoder: Decoder) -> Iterator[None]:
    """No dropout and no gradients inside; the decoder's mode is put back after."""
    was_training = decoder.training
    if was_training:  # each walks through all modules
        decoder.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        if was_training:
            decoder.train()
