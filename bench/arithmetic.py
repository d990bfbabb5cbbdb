"""How much a training step multiplies, and how long that would take at the machine's best."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from bench.ours import Shape
from bench.step import OPTIMIZER, TrainingStep

MATRIX_PRODUCTS = {torch.ops.aten.mm, torch.ops.aten.addmm}


def forward_flop(*shapes: torch.Size, **_: object) -> int:
    """Of fused attention for the shapes of query, key and value; other arguments are not read."""
    return sdpa_flop_count(*shapes[:3])


def backward_flop(*shapes: torch.Size, **_: object) -> int:
    """Of its backward pass for the shapes of the output's gradient, query, key and value."""
    return sdpa_backward_flop_count(*shapes[:4])


# Attention as torch calls it on a CPU, which its counter does not know.
CPU_ATTENTION: dict[object, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: forward_flop,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: backward_flop,
}


@dataclass(frozen=True)
class Flop:
    """Floating-point operations of the products in one step. `bench.profile.PROTOCOL` says how they are counted."""

    linear: int  # by formula
    linear_counted: int
    attention_causal: int  # by formula
    attention_full: int  # by formula
    attention_counted: int
    optimizer_counted: int

    @property
    def needed(self) -> int:
        return self.linear + self.attention_causal + self.optimizer_counted


def count_flop(step: TrainingStep, shape: Shape) -> Flop:
    """By formula and by watching a step."""
    weights = sum(module.weight.numel() for module in step.ours.decoder.modules() if isinstance(module, nn.Linear))
    characters, area = shape.batch * shape.context, shape.layers * shape.width
    phases = step.phases()
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as model:
        phases["forward"]()
        phases["backward"]()
    with FlopCounterMode(display=False) as optimizer:
        phases[OPTIMIZER]()
    counts = model.get_flop_counts().get("Global", {})
    linear = sum(count for operation, count in counts.items() if operation in MATRIX_PRODUCTS)
    return Flop(
        linear=6 * weights * characters,
        linear_counted=linear,
        attention_causal=6 * area * (shape.context + 1) * characters,
        attention_full=12 * area * shape.context * characters,
        attention_counted=model.get_total_flops() - linear,
        optimizer_counted=optimizer.get_total_flops(),
    )


@dataclass(frozen=True)
class Limit:
    """A step beside the physical limit."""

    flop_per_second: float  # over the whole step
    share_of_peak: float  # and so the share of the step that its products would take at the peak
    seconds: float  # that its products would take at the peak
    distance: float  # how many times longer the step takes


def limit_of(flop: Flop, seconds: float, peak: float) -> Limit:
    """What `flop` would take at `peak` FLOP/s, beside the `seconds` of the step."""
    least = flop.needed / peak
    return Limit(flop.needed / seconds, least / seconds, least, seconds / least)
