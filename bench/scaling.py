"""Growth of time and memory of layers, of attention scoring and of training steps with their sizes.

    python -m bench.scaling [--quick] [--device cpu|cuda] [--output bench/results]

To measure without the page faults of large tensors on Linux, set GLIBC_TUNABLES to
glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=8589934592. The setting is recorded.
"""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import linear_regression

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from bench.harness import ONCE, Options, Protocol, Report, Row, Step, median_seconds, new_figure, peak_bytes
from bench.training_step import Shape, TrainingStep
from model.attention_pooling import AttentionPooling, causal_lens, masked_softmax
from model.scoring import Additive
from training.config import OptimizerKind

FITTED = 8  # an exponent is fitted to sizes of at least the largest divided by this
HEAD_SIZE = 64  # of training steps: as many heads as the width has room for, at least one
MUON, ADAMW, MICRO_BATCHES = "training step, Muon", "training step, AdamW", "training step, micro-batches of one"
STYLES = ("#0072B2", "o"), ("#E69F00", "s"), ("#D55E00", "^"), ("#009E73", "D")  # colours: Okabe and Ito 2008


def forward_backward(forward: Callable[[], Tensor], leaves: Sequence[Tensor]) -> Step:
    """The pass forward, and back to the gradients of `leaves`."""
    direction = torch.randn_like(forward())
    return lambda: torch.autograd.grad(forward(), leaves, direction)


def convolution(n: int, d: int, k: int) -> Step:
    """Each position sees itself and the k - 1 before it: (1, n, d) -> (1, n, d)."""
    layer = nn.Conv1d(d, d, k)
    x = torch.randn(1, n, d, requires_grad=True)
    return forward_backward(lambda: layer(F.pad(x.mT, (k - 1, 0))).mT, (x, *layer.parameters()))


def recurrence(n: int, d: int) -> Step:
    """One recurrent layer with tanh: (1, n, d) -> (1, n, d)."""
    layer = nn.RNN(d, d, batch_first=True)
    x = torch.randn(1, n, d, requires_grad=True)
    return forward_backward(lambda: layer(x)[0], (x, *layer.parameters()))


def self_attention(attend: Callable[..., Tensor], n: int, d: int) -> Step:
    """A sequence to itself, (1, 1, n, d): queries, keys and values are the inputs, without linear layers."""
    inputs = [torch.randn(1, 1, n, d, requires_grad=True) for _ in range(3)]
    return forward_backward(lambda: attend(*inputs), inputs)


def cross_attention(attend: Callable[..., Tensor], Q: int, K: int, D: int, V: int) -> Step:
    """Q queries to K keys of size D and values of size V, forward only: (1, 1, Q, V)."""
    inputs = torch.randn(1, 1, Q, D), torch.randn(1, 1, K, D), torch.randn(1, 1, K, V)
    return torch.no_grad()(lambda: attend(*inputs))


def explicit(query: Tensor, key: Tensor, value: Tensor, causal: bool = False) -> Tensor:
    """Scores and weights are formed. Queries are scaled, as there are fewer numbers in them than in the scores."""
    scores = query * query.shape[-1] ** -0.5 @ key.mT
    lens = causal_lens(query.shape[-2], query.device)[None] if causal else None
    return masked_softmax(scores, lens) @ value


def additive(Q: int, K: int, D: int, V: int) -> Step:
    """Additive scores, formed for a few queries at a time."""
    return cross_attention(AttentionPooling(Additive(1, D), causal=False), Q, K, D, V)


OPERATIONS: dict[str, Callable[..., Step]] = {
    "convolution": convolution,
    "recurrence": recurrence,
    "explicit attention": partial(self_attention, partial(explicit, causal=True)),
    "fused attention": partial(self_attention, AttentionPooling()),
    "explicit dot product": partial(cross_attention, explicit),
    "fused dot product": partial(cross_attention, AttentionPooling(causal=False)),
    "additive": additive,
}


@dataclass(frozen=True)
class Case:
    """An operation of which one size grows while the others stay."""

    operation: str
    varied: str
    sizes: tuple[int, ...]
    fixed: dict[str, int]
    time: int | str  # the exponent to be expected, or between which two
    memory: int | str = ""

    def quick(self) -> "Case":
        return replace(self, sizes=doubling(4, 16), fixed={name: min(size, 16) for name, size in self.fixed.items()})


def doubling(first: int, last: int) -> tuple[int, ...]:
    return tuple(first << i for i in range((last // first).bit_length()))


# At the upper end arithmetic outweighs the calling of kernels. Explicit attention stops before memory runs out.
LAYERS = (
    Case("convolution", "n", doubling(64, 16384), {"d": 64, "k": 3}, time=1, memory=1),
    Case("recurrence", "n", doubling(64, 16384), {"d": 64}, time=1, memory=1),
    Case("explicit attention", "n", doubling(64, 8192), {"d": 64}, time=2, memory=2),
    Case("fused attention", "n", doubling(64, 16384), {"d": 64}, time=2, memory=1),
    Case("convolution", "d", doubling(32, 2048), {"n": 256, "k": 3}, time=2),
    Case("recurrence", "d", doubling(32, 2048), {"n": 256}, time=2),
    Case("explicit attention", "d", doubling(32, 2048), {"n": 256}, time=1),
    Case("fused attention", "d", doubling(32, 2048), {"n": 256}, time=1, memory=1),
    Case("convolution", "k", doubling(1, 64), {"n": 512, "d": 128}, time=1),
)
# The cost is Q K (D + V): D is one while V grows, and V while D does, or the constant term would hide the growing one.
SCORING = tuple(
    Case(operation, varied, doubling(64, 4096), fixed, time=1)
    for varied, fixed in (
        ("Q", {"K": 512, "D": 64, "V": 64}),
        ("K", {"Q": 512, "D": 64, "V": 64}),
        ("D", {"Q": 256, "K": 256, "V": 1}),
        ("V", {"Q": 256, "K": 256, "D": 1}),
    )
    for operation in ("explicit dot product", "fused dot product", "additive")
)
# At the upper end of width the linear layers outweigh attention, at that of context the other way round.
WIDTH = Case(MUON, "width", doubling(64, 1024), {"layers": 2, "context": 256, "batch": 8}, "1 to 3", "1 to 2")
BATCH = Case(MUON, "batch", doubling(1, 64), {"layers": 2, "width": 128, "context": 128}, time=1, memory=1)
STEPS = (
    Case(MUON, "layers", doubling(1, 16), {"width": 128, "context": 256, "batch": 8}, time=1, memory=1),
    WIDTH,
    Case(MUON, "context", doubling(128, 16384), {"layers": 2, "width": 128, "batch": 1}, "1 to 2", 1),
    BATCH,
    replace(WIDTH, operation=ADAMW, time="1 to 2"),
    replace(BATCH, operation=MICRO_BATCHES, memory=0),
)


@dataclass(frozen=True)
class Curve:
    """A case with its measurements and the exponents fitted to them."""

    case: Case
    seconds: list[float]
    peak_bytes: list[int]
    time: float
    memory: float

    def row(self) -> Row:
        fixed = ", ".join(f"{name} = {size}" for name, size in self.case.fixed.items())
        growing = f"{self.case.varied} to {self.case.sizes[-1]}"
        times = {"time: expected": self.case.time, "time: fitted": self.time}
        memory = {"memory: expected": self.case.memory, "memory: fitted": self.memory}
        return {"operation": self.case.operation, "growing": growing, "fixed": fixed, **times, **memory}


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The slope of log value over log size by least squares, over sizes of at least the largest / FITTED.

    At smaller ones the calling of kernels takes the time, and terms that the leading one outgrows.
    """
    upper = [(math.log(x), math.log(y)) for x, y in zip(sizes, values, strict=True) if x * FITTED >= max(sizes)]
    return linear_regression(*zip(*upper, strict=True)).slope


def prepare(operation: str, device: torch.device, **sizes: int) -> Step:
    """The step to be measured of an operation with these sizes."""
    if operation in OPERATIONS:
        with device:  # where tensors and parameters are made
            return OPERATIONS[operation](**sizes)
    shape = Shape(operation, heads=max(1, sizes["width"] // HEAD_SIZE), **sizes)
    optimizer = OptimizerKind.adamw if operation == ADAMW else OptimizerKind.muon
    return TrainingStep(shape, device, optimizer=optimizer, micro_batch=1 if operation == MICRO_BATCHES else None).take


def measure(case: Case, device: torch.device, protocol: Protocol) -> Curve:
    seconds, peaks = [], []
    for size in case.sizes:
        step = prepare(case.operation, device, **case.fixed, **{case.varied: size})
        seconds.append(median_seconds(step, device, protocol))
        peaks.append(peak_bytes(step))
    return Curve(case, seconds, peaks, exponent(case.sizes, seconds), exponent(case.sizes, peaks))


def plot(curves: Sequence[Curve], grown: Sequence[str], report: Report, folder: Path) -> None:
    """Time and memory against each size of `grown`, axes logarithmic."""
    figure = new_figure(5.5 * len(grown), 8)
    if figure is None:
        return
    styles = dict(zip(dict.fromkeys(curve.case.operation for curve in curves), STYLES, strict=False))
    figure.suptitle(f"{report.title}: {report.conditions}")
    for varied, panels in zip(grown, figure.subplots(2, len(grown), sharex="col").T, strict=True):
        for curve in (curve for curve in curves if curve.case.varied == varied):
            colour, marker = styles[curve.case.operation]
            measured = (curve.seconds, curve.time), (curve.peak_bytes, curve.memory)
            for axes, (values, fitted) in zip(panels, measured, strict=True):
                label = f"{curve.case.operation}, $\\mathrm{{{varied}}}^{{{fitted:.2f}}}$"
                axes.loglog(curve.case.sizes, values, color=colour, marker=marker, label=label)
        for axes, quantity in zip(panels, ("time (s)", "peak memory (bytes)"), strict=True):
            axes.set_xscale("log", base=2)  # sizes double
            axes.set(xlabel=varied, ylabel=quantity)
            axes.grid(alpha=0.3)
            axes.legend()
    figure.savefig(folder / f"{report.name}.png", dpi=100)


def main(argv: Sequence[str] | None = None) -> None:
    options = Options("scaling", __doc__).read(argv)
    torch.manual_seed(0)
    device, quick, folder = torch.device(options.device), options.quick, options.output
    protocol = ONCE if quick else Protocol()

    def curves(cases: Sequence[Case]) -> list[Curve]:
        return [measure(case.quick() if quick else case, device, protocol) for case in tqdm(cases, disable=None)]

    report = Report("scaling", "Growth of cost with size", device, quick)
    layers, scoring = curves(LAYERS), curves(SCORING)
    report.data |= {"layers": layers, "scoring": scoring, "malloc": os.environ.get("GLIBC_TUNABLES", "not set")}
    report.add("Layers, forward and backward, fp32", [curve.row() for curve in layers])
    report.add("Attention scoring, forward, fp32", [curve.row() for curve in scoring])
    report.save(folder)
    plot(layers, ("n", "d"), report, folder)

    report = Report("scaling_steps", "Growth of the cost of a training step with size", device, quick)
    report.data["steps"] = steps = curves(STEPS)
    settings = TrainingStep(Shape("", 1, 1, 2, 1, 1), device).settings()
    note = f"{settings}, rotary positions, heads of {HEAD_SIZE} columns."
    report.add("A training step", note, [curve.row() for curve in steps])
    longer = next(curve for curve in steps if curve.case.varied == "context")
    sizes = zip(longer.case.sizes, longer.seconds, longer.peak_bytes, strict=True)
    report.add("One window, ever longer", [{"context": n, "ms": 1e3 * t, "MB": size / 1e6} for n, t, size in sizes])
    report.save(folder)
    plot(steps, ("layers", "width", "context", "batch"), report, folder)


if __name__ == "__main__":
    main()
