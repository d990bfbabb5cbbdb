"""Decoder for sampling: linear layers in the dtype and memory layout that are fastest for few rows."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.decoder import Decoder, FeedForward

PACKED_FROM = 2**18  # weights times rows from which oneDNN's layout is faster in fp32 (bench/LOG.md)
ONE_THREAD_UP_TO = 2**22  # weights times rows up to which a second thread costs more than it gains (bench/LOG.md)
OPERATORS = "_is_mkldnn_bf16_supported", "_reorder_linear_weight", "_linear_pointwise"  # private: may go any time


class PackedLinear(nn.Module):
    """Linear layer for inference that computes in `dtype`; the output has the dtype of the input."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.bias = None if linear.bias is None else linear.bias.detach().to(dtype)
        self.weight = linear.weight.detach().to(dtype)
        # oneDNN's own layout; without it, oneDNN reorders the weights for every product.
        self.reordered = self.weight.device.type == "cpu" and _onednn_supports(dtype)
        if self.reordered:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., D)."""
        return self.product(x.to(self.dtype)).to(x.dtype)

    def product(self, x: Tensor, gelu: bool = False) -> Tensor:
        """(..., C) -> (..., D), both in `dtype`; with GELU on top if `gelu`."""
        if self.reordered:
            y: Tensor = torch.ops.mkldnn._linear_pointwise(
                x, self.weight, self.bias, "gelu" if gelu else "none", [], "none" if gelu else ""
            )
            return y
        y = F.linear(x, self.weight, self.bias)
        return F.gelu(y) if gelu else y


class PackedFeedForward(nn.Module):
    """Both linear layers of a feed-forward network, and its activation function, in one dtype."""

    def __init__(self, feed_forward: FeedForward, dtype: torch.dtype) -> None:
        super().__init__()
        self.activation = feed_forward.activation
        self.hidden = PackedLinear(feed_forward.hidden, dtype)
        self.output = PackedLinear(feed_forward.output, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        fused = self.activation is F.gelu
        hidden = self.hidden.product(x.to(self.hidden.dtype), gelu=fused)
        return self.output.product(hidden if fused else self.activation(hidden)).to(x.dtype)


def _onednn_supports(dtype: torch.dtype) -> bool:
    """Whether torch has the operators, and the CPU the instructions that they need for bf16."""
    if not torch.backends.mkldnn.is_available() or not all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def fastest_threads(decoder: Decoder, rows: int) -> int:
    """Number of threads for products of `rows` rows: one, or as many as torch has now."""
    return 1 if decoder.config.block_parameter_count() * rows <= ONE_THREAD_UP_TO else torch.get_num_threads()


def packed(decoder: Decoder, dtype: torch.dtype, rows: int) -> Decoder:
    """Copy in evaluation mode, with the linear layers of its blocks in `dtype` and packed for products of `rows` rows.

    `rows` only affects speed. Everything else computes as before.
    """

    # Without AVX-512 a plain product with weights by columns is faster for one row than oneDNN's (bench/LOG.md).
    by_columns = rows == 1 and decoder.embedding.weight.is_cpu and torch.cpu.get_capabilities().get("avx512_f") is False

    def gains(linear: nn.Linear) -> bool:
        return linear.weight.dtype != dtype or (linear.weight.numel() * rows > PACKED_FROM and not by_columns)

    twin = copy.deepcopy(decoder).eval()
    identity = nn.Identity()  # faster than dropout in evaluation mode
    twin.dropout = identity  # type: ignore[assignment]
    for block in twin.blocks:
        block.dropout = identity  # type: ignore[assignment]
        for name, module in block.attention.named_children():
            if isinstance(module, nn.Linear) and gains(module):
                setattr(block.attention, name, PackedLinear(module, dtype))
        if gains(block.feed_forward.hidden):
            block.feed_forward = PackedFeedForward(block.feed_forward, dtype)  # type: ignore[assignment]
        for module in block.modules() if by_columns else ():
            if isinstance(module, nn.Linear):
                module.weight = nn.Parameter(module.weight.mT.contiguous().mT, requires_grad=False)
    return twin
