"""How the time and memory of an operation grow with one of its sizes, and the exponent of it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import linear_regression

import torch

from bench.machine import Protocol, Step, median_seconds
from bench.memory import peak_bytes
from bench.operations import OPERATIONS

FITTED = 8  # an exponent is fitted to sizes of at least the largest divided by this


@dataclass(frozen=True)
class Case:
    """An operation of which one size grows while the others stay."""

    operation: str
    varied: str
    sizes: tuple[int, ...]
    fixed: dict[str, int]
    time: int | str  # the exponent to be expected, or between which two
    memory: int | str | None = None  # the same, where one is

    def quick(self) -> "Case":
        return replace(self, sizes=doubling(4, 16), fixed={name: min(size, 16) for name, size in self.fixed.items()})


def doubling(first: int, last: int) -> tuple[int, ...]:
    return tuple(first << i for i in range((last // first).bit_length()))


@dataclass(frozen=True)
class Curve:
    """A case with what was measured, and the exponents fitted to it."""

    case: Case
    seconds: list[float]
    peak_bytes: list[int]
    time: float
    memory: float


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The slope of log value over log size by least squares, over sizes of at least the largest / FITTED.

    Smaller sizes tell of the time that calling kernels takes, and of terms that the leading one outgrows.
    """
    upper = [(math.log(x), math.log(y)) for x, y in zip(sizes, values, strict=True) if x * FITTED >= max(sizes)]
    return linear_regression(*zip(*upper, strict=True)).slope


def prepare(operation: str, device: torch.device, **sizes: int) -> Step:
    with device:  # where tensors and parameters are made
        return OPERATIONS[operation](**sizes).step()


def measure(case: Case, device: torch.device, protocol: Protocol, prepare: Callable[..., Step] = prepare) -> Curve:
    """`prepare` makes what is measured, from the operation, the device and, by their names, the sizes."""
    seconds, peaks = [], []
    for size in case.sizes:
        step = prepare(case.operation, device, **case.fixed, **{case.varied: size})
        seconds.append(median_seconds(step, device, protocol))
        peaks.append(peak_bytes(step))
    return Curve(case, seconds, peaks, exponent(case.sizes, seconds), exponent(case.sizes, peaks))
