"""How the time and memory of layers, of attention scoring and of training steps grow with their sizes, and should.

    python -m bench.scaling [--quick] [--device cpu|cuda] [--output bench/results]

Layers: forward and backward pass of one sequence in fp32, causal. Attention has one head and takes queries, keys and
values as they are, so that projections, which cost n d^2 themselves, stay out. Scoring: forward pass alone, not causal.
Training steps of the decoder (`bench.scaling_steps`) are whole and in the precision of training.
A time is the median of repeated calls after a warm-up (`bench.machine.Protocol`), memory that of tensors
(`training.memory.peak_bytes`), and an exponent the slope of a line through the upper part of its range
(`bench.curves.exponent`).

On Linux the C library hands tensors beyond 32 MiB back to the system at once, and explicit attention may wait for fresh
pages as long as it computes. To keep them, and so measure without, set GLIBC_TUNABLES to
glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=8589934592. The setting is recorded.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from bench import scaling_steps
from bench.curves import FITTED, Case, Curve, doubling, measure, prepare
from bench.curves_report import plot, summary
from bench.machine import Protocol, copy_rate, median_seconds, product_rate
from bench.report import Row, keep, table, where
from training.device import machine

SOURCES = {
    "time": "Vaswani et al. 2017, table 1; Zhang et al. 2023, Dive into Deep Learning, sections 11.3 and 11.6.2",
    "memory": "Dao et al. 2022, theorem 1, for attention; activations of n d numbers for the others",
}

# Stated by the sources of time, not measured. n: length, d: width, k: kernel size.
FACTS: tuple[Row, ...] = (
    {"layer": "convolution", "time": "O(k n d^2)", "sequential operations": "O(1)", "maximum path length": "O(n / k)"},
    {"layer": "recurrence", "time": "O(n d^2)", "sequential operations": "O(n)", "maximum path length": "O(n)"},
    {"layer": "self-attention", "time": "O(n^2 d)", "sequential operations": "O(1)", "maximum path length": "O(1)"},
)


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


def bandwidth(device: torch.device, n: int, protocol: Protocol, copied: float, multiplied: float) -> list[Row]:
    """How near attention of Q = n queries to K = n keys comes to the bytes/s copied and the FLOP/s multiplied at best.

    At least 4 ((Q + K) D + K V + Q V) bytes move: queries, keys and values are read, the output is written. Explicit
    attention moves 16 Q K more, as scores and weights are written and read. The products take 2 Q K (D + V) FLOP; the
    softmax is not counted.
    """
    rows: list[Row] = []
    for operation, bytes_per_pair in (("explicit dot product", 16), ("fused dot product", 0)):
        for d in (16, 64, 256):
            seconds = median_seconds(prepare(operation, device, Q=n, K=n, D=d, V=d), device, protocol)
            moved, flop = 16 * n * d + bytes_per_pair * n * n, 4 * n * n * d
            case: Row = {"operation": operation, "Q = K": n, "D = V": d, "ms": 1e3 * seconds, "FLOP/byte": flop / moved}
            speed: Row = {"GB/s": moved / seconds / 1e9, "GFLOP/s": flop / seconds / 1e9}
            shares: Row = {"of copying": moved / seconds / copied, "of multiplying": flop / seconds / multiplied}
            rows.append(case | speed | shares)
    return rows


@dataclass(frozen=True)
class Findings:
    """What scaling.json holds."""

    machine: dict[str, str | int]
    device: str
    protocol: Protocol
    copied_bytes_per_second: float  # at best, read and written
    multiplied_flop_per_second: float  # at best
    bandwidth: list[Row]
    layers: list[Curve]
    scoring: list[Curve]
    trial: bool  # of the command itself: tiny sizes, each timed once
    malloc: str = os.environ.get("GLIBC_TUNABLES", "not set")
    fitted: str = f"sizes of at least the largest / {FITTED}"
    sources: dict[str, str] = field(default_factory=lambda: SOURCES)
    facts: tuple[Row, ...] = FACTS


def find(device: torch.device, quick: bool) -> Findings:
    """Measure everything."""
    protocol = Protocol(repeats=1, seconds=0) if quick else Protocol()
    copied = copy_rate(device, 2**20 if quick else 2**28, protocol)
    multiplied = product_rate(device, 64 if quick else 2048, protocol)
    traffic = bandwidth(device, 64 if quick else 4096, protocol, copied, multiplied)
    cases = [case.quick() if quick else case for case in LAYERS + SCORING]
    curves = [measure(case, device, protocol) for case in tqdm(cases, unit="case", disable=None)]
    layers, scoring = curves[: len(LAYERS)], curves[len(LAYERS) :]
    return Findings(machine(device), device.type, protocol, copied, multiplied, traffic, layers, scoring, quick)


def markdown(found: Findings) -> str:
    """What scaling.md holds."""
    bytes_per_second, flop_per_second = found.copied_bytes_per_second, found.multiplied_flop_per_second
    trial = "**A trial of the command: sizes are tiny and timed once, so the figures mean nothing.**\n\n"
    return f"""# How cost grows with size

{trial if found.trial else ""}{where(found.machine, found.device)}, fp32, GLIBC_TUNABLES: {found.malloc}.
Exponents are fitted to {found.fitted}.

- Time: {SOURCES["time"]}.
- LayerCache: {SOURCES["memory"]}.

## Layers, forward and backward

{table([summary(curve) for curve in found.layers])}

As the textbooks state, not measured:

{table(FACTS)}

## Attention scoring, forward

{table([summary(curve) for curve in found.scoring])}

## LayerCache bandwidth of attention, forward

At best the machine copies {bytes_per_second / 1e9:.1f} GB/s, read and written, and multiplies matrices at
{flop_per_second / 1e9:.1f} GFLOP/s. What takes fewer than {flop_per_second / bytes_per_second:.1f} FLOP/byte cannot
reach the latter: memory bounds it. Where both shares are small, neither bounds: the softmax does, or fresh pages from
the system.

{table(found.bandwidth)}
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, each timed once: to try the command itself")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--output", type=Path, default=Path("bench/results"), metavar="FOLDER")
    options = parser.parse_args(argv)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: expected cpu, got cuda on a machine without it")
    torch.manual_seed(0)

    device = torch.device(options.device)
    found = find(device, options.quick)
    title = f"Forward and backward pass of one layer: {where(found.machine, found.device)}"
    keep(options.output, "scaling", asdict(found), markdown(found), partial(plot, found.layers, ("n", "d"), title))
    scaling_steps.find_and_keep(device, found.protocol, options.quick, options.output)


if __name__ == "__main__":
    main()
