"""Positional encodings: added to embeddings, or applied to queries and keys as rotations."""

import torch
from torch import Tensor, nn

Positions = slice | Tensor  # of T tokens: the same in all sequences, or (B, T)


def angles(positions: int, size: int) -> Tensor:
    """i / 10000^(2j/size) for position i and pair of columns j: (positions, ceil(size / 2)).

    In float64, as far positions have large angles. Vaswani et al. 2017, section 3.5.
    """
    exponent = torch.arange(0, size, 2, dtype=torch.float64) / size
    return torch.arange(positions, dtype=torch.float64)[:, None] / 10_000**exponent


def sinusoidal_encoding(positions: int, width: int) -> Tensor:
    """p[i, 2j] = sin(i / 10000^(2j/C)), p[i, 2j+1] = cos(i / 10000^(2j/C)) (Vaswani et al. 2017, section 3.5).

    Returns (positions, width) in float32; an odd width ends on a sine.
    """
    angle = angles(positions, width)
    interleaved = torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)
    return interleaved[:, :width].float()


def cosine_sine(angle: Tensor) -> Tensor:
    """Cosine and sine of each angle: (..., 2)."""
    return torch.stack((angle.cos(), angle.sin()), dim=-1)


def rotate(x: Tensor, cos_sin: Tensor) -> Tensor:
    """Rotate each pair of columns (2j, 2j+1) of x (..., T, D) by its own angle (Su et al. 2021, section 3.2).

    cos_sin: cosine and sine of the angles, (..., T, D // 2, 2), or (D // 2, 2) for all rows. An odd last column stays.
    Rotation by -delta / 10000^(2j/D) takes row i of the sinusoidal encoding to row i + delta.
    """
    paired = 2 * cos_sin.shape[-2]  # columns
    whole = x if x.shape[-1] == paired else x[..., :paired]
    points = whole.to(torch.promote_types(x.dtype, torch.float32)).contiguous().view(*whole.shape[:-1], -1, 2)
    # Complex products are faster on a CPU, but torch.compile lacks them and they need an even storage offset.
    if x.device.type == "cpu" and not torch.compiler.is_compiling() and points.storage_offset() % 2 == 0:
        rotated = torch.view_as_real(torch.view_as_complex(points) * torch.view_as_complex(cos_sin))
    else:
        (real, imaginary), (cosine, sine) = points.unbind(-1), cos_sin.unbind(-1)
        rotated = torch.stack((real * cosine - imaginary * sine, real * sine + imaginary * cosine), dim=-1)
    rotated = rotated.flatten(-2).type_as(x)
    return rotated if whole is x else torch.cat((rotated, x[..., paired:]), dim=-1)


class AddedPosition(nn.Module):
    """Base class: adds a row of `table` (positions, C) to each position."""

    table: Tensor

    def forward(self, x: Tensor, positions: Positions | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C); `positions` default to 0 ... T - 1."""
        return x + self.table[_rows(x, positions)]


class SinusoidalPosition(AddedPosition):
    """Adds the sinusoidal encoding, times `scale`."""

    def __init__(self, positions: int, width: int, scale: float = 1.0) -> None:
        super().__init__()
        # A buffer follows the decoder to its device; not persistent: checkpoints leave it out.
        self.register_buffer("table", scale * sinusoidal_encoding(positions, width), persistent=False)


class LearnedPosition(AddedPosition):
    """Adds a learned vector for each position (Gehring et al. 2017, section 3.1)."""

    def __init__(self, positions: int, width: int, scale: float = 1.0) -> None:
        """`scale`: of the initial vectors."""
        super().__init__()
        self.scale = scale
        self.table = nn.Parameter(torch.empty(positions, width))
        self.initialise()

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """As large as the sinusoidal encoding of that scale, which did best (bench/LOG.md)."""
        nn.init.normal_(self.table, std=self.scale * 0.5**0.5, generator=generator)


class RotaryPosition(nn.Module):
    """Rotates queries and keys by position, so their products depend only on the distance (Su et al. 2021)."""

    table: Tensor  # (positions, D // 2, 2)

    def __init__(self, positions: int, head_size: int) -> None:
        super().__init__()
        table = cosine_sine(angles(positions, head_size)[:, : head_size // 2]).float()
        self.register_buffer("table", table, persistent=False)

    def forward(self, x: Tensor, positions: Positions | None = None) -> Tensor:
        """Queries or keys (B, H, T, D), rotated; `positions` default to 0 ... T - 1."""
        cos_sin = self.table[_rows(x, positions)]
        return rotate(x, cos_sin if cos_sin.ndim == 3 else cos_sin[:, None])  # (T, D // 2, 2) or (B, 1, T, D // 2, 2)


def _rows(x: Tensor, positions: Positions | None) -> Positions:
    return slice(x.shape[-2]) if positions is None else positions
