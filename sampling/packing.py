"""A decoder for writing with: its maps in the precision and the layout that are fastest for few rows."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.decoder import Decoder, FeedForward

PACKED_FROM = 2**18  # weights times rows from which a layout of oneDNN's pays in fp32 (bench/LOG.md)


class PackedLinear(nn.Module):
    """A linear map that is trained no more: its products are computed in `dtype`, in and out goes what went before."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.bias = None if linear.bias is None else linear.bias.detach().to(dtype)
        self.weight = linear.weight.detach().to(dtype)
        # oneDNN's own layout: into this it would otherwise bring the weights anew for every product.
        self.laid_out = self.weight.device.type == "cpu" and _onednn_takes(dtype)
        if self.laid_out:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., D)."""
        return self.product(x.to(self.dtype)).to(x.dtype)

    def product(self, x: Tensor, gelu: bool = False) -> Tensor:
        """What comes out, in `dtype` as what goes in is, through GELU if asked."""
        if self.laid_out:
            y: Tensor = torch.ops.mkldnn._linear_pointwise(
                x, self.weight, self.bias, "gelu" if gelu else "none", [], "none" if gelu else ""
            )
            return y
        y = F.linear(x, self.weight, self.bias)
        return F.gelu(y) if gelu else y


class PackedFeedForward(nn.Module):
    """Both maps of a feed-forward layer, and what is between them, without a change of type."""

    def __init__(self, feed_forward: FeedForward, dtype: torch.dtype) -> None:
        super().__init__()
        self.hidden = PackedLinear(feed_forward.hidden, dtype)
        self.output = PackedLinear(feed_forward.output, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        hidden = self.hidden.product(x.to(self.hidden.dtype), gelu=True)
        return self.output.product(hidden).to(x.dtype)


def _onednn_takes(dtype: torch.dtype) -> bool:
    # The second question is whether the CPU has the instructions that its bf16 needs.
    return torch.backends.mkldnn.is_available() and (
        dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def packed(decoder: Decoder, dtype: torch.dtype, rows: int) -> Decoder:
    """A copy in evaluation mode, with the maps of its blocks in `dtype`, laid out for so many rows at once.

    How many only decides about speed. All else computes as before.
    """

    def gains(linear: nn.Linear) -> bool:
        return linear.weight.dtype != dtype or linear.weight.numel() * rows > PACKED_FROM

    twin = copy.deepcopy(decoder).eval()
    nothing = nn.Identity()  # faster than dropout that is off
    twin.dropout = nothing  # type: ignore[assignment]
    for block in twin.blocks:
        block.dropout = nothing  # type: ignore[assignment]
        for name, module in block.attention.named_children():
            if isinstance(module, nn.Linear) and gains(module):
                setattr(block.attention, name, PackedLinear(module, dtype))
        if gains(block.feed_forward.hidden):
            block.feed_forward = PackedFeedForward(block.feed_forward, dtype)  # type: ignore[assignment]
    return twin
