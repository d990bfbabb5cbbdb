"""Where a character stands in its context, as a vector that is added to its embedding."""

import torch
from torch import Tensor


def sinusoidal_encoding(positions: int, width: int) -> Tensor:
    """p[i, 2j] = sin(i / 10000^(2j/C)), p[i, 2j+1] = cos(i / 10000^(2j/C)) (Vaswani et al. 2017, section 3.5).

    Returns (positions, width) in float32; an odd width ends on a sine.
    """
    # In float64, since far positions make large angles.
    exponent = torch.arange(0, width, 2, dtype=torch.float64) / width
    angle = torch.arange(positions, dtype=torch.float64)[:, None] / 10_000**exponent  # (positions, ceil(width / 2))
    interleaved = torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)
    return interleaved[:, :width].float()
