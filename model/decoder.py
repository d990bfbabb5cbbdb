"""Decoder-only transformer with pre-norm blocks: token ids to logits of the next token at each position."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.attention import MultiHeadAttention, SingleHeadAttention
from model.attention_pooling import AttentionPooling, LayerCache
from model.config import Activation, AttentionKind, DecoderConfig, PositionKind
from model.position import LearnedPosition, RotaryPosition, SinusoidalPosition
from model.scoring import Additive, Bilinear, make_scoring

INITIAL_SHARE = 0.3  # of the previous token (bench/LOG.md)


def norm(width: int) -> nn.LayerNorm:
    """Layer normalization without parameters: the next linear layer can learn the gain."""
    return nn.LayerNorm(width, elementwise_affine=False)


class TokenShift(nn.Module):
    """x[i] + share * x[i - 1], with a learned share for each column; nothing precedes the first token.

    A causal convolution of width two (after Peng et al. 2023, "RWKV", section 3.1).
    """

    def __init__(self, width: int, slot: int) -> None:
        """`slot`: of a `LayerCache`, for the last token."""
        super().__init__()
        self.slot = slot
        self.share = nn.Parameter(torch.full((width,), INITIAL_SHARE))

    def forward(self, x: Tensor, layer_cache: LayerCache | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        if layer_cache is None:
            return torch.addcmul(x, F.pad(x, (0, 0, 1, -1)), self.share)
        shifted = torch.addcmul(x, layer_cache.previous(self.slot, x), self.share)
        layer_cache.keep_last(self.slot, x)
        return shifted


class FeedForward(nn.Module):
    """Position-wise feed-forward network (Vaswani et al. 2017, section 3.3)."""

    def __init__(self, width: int, hidden: int, bias: bool, activation: Activation) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden, bias=bias)
        self.output = nn.Linear(hidden, width, bias=bias)
        self.activation = F.gelu if activation is Activation.gelu else relu_squared

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.activation(self.hidden(x)))  # (B, T, C)


def relu_squared(x: Tensor) -> Tensor:
    """max(0, x)^2 (So et al. 2021, "Primer")."""
    return F.relu(x).square()


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)): pre-norm residual block (Xiong et al. 2020).

    With token shift, of norm(x).
    """

    def __init__(self, config: DecoderConfig, kind: AttentionKind) -> None:
        super().__init__()
        self.attention_norm = norm(config.width)
        self.attention_shift = TokenShift(config.width, slot=0) if config.token_shift else None
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
        self.feed_forward_norm = norm(config.width)
        self.feed_forward_shift = TokenShift(config.width, slot=1) if config.token_shift else None
        hidden = config.feed_forward or 4 * config.width
        self.feed_forward = FeedForward(config.width, hidden, config.bias, config.activation)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, valid_lens: Tensor | None = None, layer_cache: LayerCache | None = None) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_input(x, layer_cache), valid_lens, layer_cache))
        return x + self.dropout(self.feed_forward(self.feed_forward_input(x, layer_cache)))

    def attention_input(self, x: Tensor, layer_cache: LayerCache | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C), from the residual stream."""
        x = self.attention_norm(x)
        return self.attention_shift(x, layer_cache) if self.attention_shift else x

    def feed_forward_input(self, x: Tensor, layer_cache: LayerCache | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C), from the residual stream."""
        x = self.feed_forward_norm(x)
        return self.feed_forward_shift(x, layer_cache) if self.feed_forward_shift else x


class Decoder(nn.Module):
    """Embedding with positional encoding, blocks, final norm, output layer."""

    def __init__(self, config: DecoderConfig, vocabulary_size: int, generator: torch.Generator | None = None) -> None:
        """`generator` draws the initial weights. Raises ValueError if `config` is invalid."""
        super().__init__()
        if problems := config.problems():
            raise ValueError("; ".join(problems))
        self.config = config
        self.embedding = nn.Embedding(vocabulary_size, config.width)
        self.token_dropout = nn.Dropout1d(config.token_dropout)  # zeroes whole (C,) of (B, T, C)
        self.shift = TokenShift(config.width, slot=2) if config.token_shift else None
        self.position: SinusoidalPosition | LearnedPosition | None
        match config.position:
            case PositionKind.sinusoidal:
                self.position = SinusoidalPosition(config.context, config.width, config.position_scale)
            case PositionKind.learned:
                self.position = LearnedPosition(config.context, config.width, config.position_scale)
            case PositionKind.rotary | PositionKind.none:  # applied in attention, or nowhere
                self.position = None
        self.dropout = nn.Dropout(config.dropout)
        blocks = nn.ModuleList(Block(config, kind) for kind in config.attention_kinds())
        self.blocks = cast(Sequence[Block], blocks)
        self.norm = norm(config.width)
        self.output = nn.Linear(config.width, vocabulary_size, bias=False)
        self._initialise(generator)

    def forward(self, ids: Tensor, valid_lens: Tensor | None = None) -> Tensor:
        """Ids (B, T) -> logits (B, T, V) of the next token at each position. Raises ValueError if T > context.

        `valid_lens` (B,): length of each sequence where they are padded at the end; no position attends to padding.
        """
        return self.logits(self.hidden(ids, valid_lens))

    def hidden(self, ids: Tensor, valid_lens: Tensor | None = None) -> Tensor:
        """Ids (B, T) -> output of the last block (B, T, C)."""
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, valid_lens)
        return x

    def hidden_cached(self, ids: Tensor, caches: Sequence[LayerCache]) -> Tensor:
        """`hidden` of ids (B, T) that follow those in the cache of each layer, which is updated."""
        x = self.embed(ids, caches[0])
        for block, layer_cache in zip(self.blocks, caches, strict=True):
            x = block(x, layer_cache.valid_lens, layer_cache)
        return x

    def logits(self, x: Tensor) -> Tensor:
        """Output of the last block (..., C) -> logits (..., V) of the next token."""
        return self.output(self.norm(x))

    def embed(self, ids: Tensor, layer_cache: LayerCache | None = None) -> Tensor:
        """Ids (B, T) -> input of the first block (B, T, C), at positions 0 ... T - 1 unless its cache says others."""
        T = ids.shape[1]
        if self.config.context < T:
            raise ValueError(f"expected at most {self.config.context} positions, got {T}")
        # sqrt(C) scales embeddings of norm one to the size of the encoding (Vaswani et al. 2017, section 3.4).
        x = self.token_dropout(self.embedding(ids)) * math.sqrt(self.config.width)
        if self.shift:
            x = self.shift(x, layer_cache)
        if self.position:
            x = self.position(x, layer_cache.positions if layer_cache else None)
        return self.dropout(x)

    def linear_weights(self) -> list[nn.Parameter]:
        """Weight matrices of all linear layers in the blocks."""
        linear = (module for block in self.blocks for module in block.modules() if isinstance(module, nn.Linear))
        return [cast(nn.Parameter, module.weight) for module in linear]

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def _initialise(self, generator: torch.Generator | None) -> None:
        """Preserve the variance through each linear layer, and bound that of the residual stream."""
        for module in self.modules():
            match module:
                case nn.Linear():
                    nn.init.normal_(module.weight, std=module.in_features**-0.5, generator=generator)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
                case Bilinear() | Additive() | LearnedPosition():
                    module.initialise(generator)
        nn.init.normal_(self.embedding.weight, std=self.config.width**-0.5, generator=generator)
        # Two residual additions in each block (Radford et al. 2019, section 2.3).
        residual_scale = (2 * self.config.layers) ** -0.5
        with torch.no_grad():
            for block in self.blocks:
                last = (
                    block.attention.value
                    if isinstance(block.attention, SingleHeadAttention)
                    else block.attention.output
                )
                last.weight.mul_(residual_scale)
                block.feed_forward.output.weight.mul_(residual_scale)


@contextmanager
def inference(decoder: Decoder) -> Iterator[None]:
    """Evaluation mode without gradients; restores the mode on exit."""
    was_training = decoder.training
    if was_training:  # eval() and train() visit all modules
        decoder.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        if was_training:
            decoder.train()
