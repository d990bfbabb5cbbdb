"""Where a character stands in its context: added to its embedding, or turned into its queries and keys."""

import torch
from torch import Tensor, nn

Positions = slice | Tensor  # of T characters: the same in all sequences, or (B, T)


def angles(positions: int, size: int) -> Tensor:
    """i / 10000^(2j/size) for each place i and each pair j of columns: (positions, ceil(size / 2)), in float64.

    Vaswani et al. 2017, section 3.5. In float64, since far positions make large angles.
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


def turns(angle: Tensor) -> Tensor:
    """Cosine and sine of each angle: (..., 2)."""
    return torch.stack((angle.cos(), angle.sin()), dim=-1)


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Turn the columns 2j and 2j+1 of each row, as a point of the plane, by an angle of their own.

    x: (..., T, D); turn: cosine and sine of the angles (..., T, D // 2, 2), or (D // 2, 2) for all rows alike. An odd
    last column stays as it is. Turned by -delta / 10000^(2j/D), row i of the sinusoidal encoding becomes row i + delta.
    """
    paired = 2 * turn.shape[-2]  # columns
    whole = x if x.shape[-1] == paired else x[..., :paired]
    points = whole.to(torch.promote_types(x.dtype, torch.float32)).contiguous().view(*whole.shape[:-1], -1, 2)
    # Faster on a CPU. But torch's compiler knows no complex numbers, and they begin at even positions only.
    if x.device.type == "cpu" and not torch.compiler.is_compiling() and points.storage_offset() % 2 == 0:
        turned = torch.view_as_real(torch.view_as_complex(points) * torch.view_as_complex(turn))
    else:
        (real, imaginary), (cosine, sine) = points.unbind(-1), turn.unbind(-1)
        turned = torch.stack((real * cosine - imaginary * sine, real * sine + imaginary * cosine), dim=-1)
    turned = turned.flatten(-2).type_as(x)
    return turned if whole is x else torch.cat((turned, x[..., paired:]), dim=-1)


class SinusoidalPosition(nn.Module):
    """Adds the sinusoidal encoding."""

    table: Tensor

    def __init__(self, positions: int, width: int) -> None:
        super().__init__()
        # Not a parameter and not in checkpoints, but it follows the decoder to its device.
        self.register_buffer("table", sinusoidal_encoding(positions, width), persistent=False)

    def forward(self, x: Tensor, positions: Positions | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C); by default they are of the positions 0 to T - 1."""
        return x + self.table[_rows(x, positions)]


class LearnedPosition(nn.Module):
    """Adds a learned vector for each place (Gehring et al. 2017, section 3.1)."""

    def __init__(self, positions: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(positions, width))
        self.initialise()

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """As large as the sinusoidal encoding, which did best (bench/LOG.md)."""
        nn.init.normal_(self.table, std=0.5**0.5, generator=generator)

    def forward(self, x: Tensor, positions: Positions | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C); by default they are of the positions 0 to T - 1."""
        return x + self.table[_rows(x, positions)]


class NoPosition(nn.Module):
    """Adds nothing."""

    def forward(self, x: Tensor, _: Positions | None = None) -> Tensor:
        """(B, T, C), as it is."""
        return x


class RotaryPosition(nn.Module):
    """Turns queries and keys by position, so that their product depends on the distance alone (Su et al. 2021)."""

    table: Tensor  # (positions, D // 2, 2)

    def __init__(self, positions: int, head_size: int) -> None:
        super().__init__()
        table = turns(angles(positions, head_size)[:, : head_size // 2]).float()
        self.register_buffer("table", table, persistent=False)

    def forward(self, x: Tensor, positions: Positions | None = None) -> Tensor:
        """Queries or keys (B, H, T, D), turned; by default they are of the positions 0 to T - 1."""
        turn = self.table[_rows(x, positions)]
        return rotate(x, turn if turn.ndim == 3 else turn[:, None])  # (T, D // 2, 2) or, for all heads, (B, 1, ...)


def _rows(x: Tensor, positions: Positions | None) -> Positions:
    return slice(x.shape[-2]) if positions is None else positions
