"""Decoder for sampling: the same weights, in fewer operations and less Python."""

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.attention import MultiHeadAttention
from model.attention_pooling import AttentionPooling
from model.decoder import Decoder, TokenShift
from model.position import RotaryPosition
from model.scoring import DotProduct
from sampling.kv_cache import KeyValueCache


class OneTokenAttention:
    """Multi-head attention for one token at the same position of all sequences; anything else goes the usual way."""

    def __init__(self, attention: MultiHeadAttention, scale: float | None, rotary: RotaryPosition | None) -> None:
        """Of dot products times `scale`, by default 1 / sqrt(D); `rotary`: of an even D, on a CPU."""
        self.attention, self.scale = attention, scale
        self.table = None if rotary is None else torch.view_as_complex(rotary.table)  # (positions, D // 2)

    def __call__(self, x: Tensor, valid_lens: Tensor | None, layer_cache: KeyValueCache | None) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        if layer_cache is None or x.shape[1] > 1 or not isinstance(layer_cache.positions, slice):
            return self.attention(x, valid_lens, layer_cache)
        B, _, C = x.shape
        projected = self.attention.query_key_value(x).view(B, 3, self.attention.heads, -1)
        if self.table is not None:  # turn queries and keys in place
            projected.view(self.table.dtype)[:, :2] *= self.table[layer_cache.positions.start]
        query, key_value = projected.narrow(1, 0, 1).transpose(1, 2), projected.narrow(1, 1, 2)
        key, value = layer_cache.append(key_value)
        pooled = F.scaled_dot_product_attention(query, key, value, scale=self.scale)  # (B, H, 1, D)
        return self.attention.output(pooled.view(B, 1, C))


def light(decoder: Decoder) -> Decoder:
    """Twin in evaluation mode that shares all weights and computes the same, to the bit.

    Its layers are functions: calling a module takes as long as a small product.
    """
    shared = {id(each): each for module in decoder.modules() for each in vars(module).values() if torch.is_tensor(each)}
    shared |= {id(each): each for each in (*decoder.parameters(), *decoder.buffers())}
    twin = copy.deepcopy(decoder, shared).eval()
    even = decoder.config.width // decoder.config.heads % 2 == 0
    function: Callable[..., Tensor]
    for module in [*twin.modules()]:
        for name, layer in [*module.named_children()]:
            match layer:
                case nn.Linear():
                    function = partial(_linear, weight=layer.weight.mT, bias=layer.bias)
                case nn.LayerNorm(normalized_shape=shape, weight=weight, bias=bias, eps=eps):
                    function = partial(torch.layer_norm, normalized_shape=shape, weight=weight, bias=bias, eps=eps)
                case nn.Dropout():
                    function = _identity
                case TokenShift():
                    function = layer.forward
                case MultiHeadAttention(pooling=AttentionPooling(scoring=DotProduct(scale=scale), rotary=rotary)) if (
                    rotary is None or (even and rotary.table.is_cpu and rotary.table.itemsize >= 4)
                ):
                    function = OneTokenAttention(layer, scale, rotary)
                case _:
                    continue
            delattr(module, name)
            setattr(module, name, function)
    return twin


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(..., C) -> (..., D). torch's own takes half as long again to find that this is one product."""
    rows = x.reshape(-1, x.shape[-1])
    y = torch.mm(rows, weight) if bias is None else torch.addmm(bias, rows, weight)
    return y.view(*x.shape[:-1], -1)


def _identity(x: Tensor) -> Tensor:
    return x
