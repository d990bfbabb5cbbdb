"""How the time and memory of a training step of the decoder grow with its sizes."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from bench.curves import FITTED, Case, Curve, doubling, measure
from bench.curves_report import plot, summary
from bench.machine import Protocol, Step
from bench.ours import Shape
from bench.peers import commit
from bench.report import Row, keep, table, where
from bench.step import TrainingStep
from bench.stopwatch import ROOT
from model.pooling import EXPLICIT_LONGEST
from training.config import OptimizerKind
from training.device import machine

HEAD_SIZE = 64  # heads are as many as have room in the width, at least one
MUON, ADAMW, MICRO_BATCHES = "Muon and AdamW", "AdamW alone", "micro-batches of one"

# At the upper end of width the maps of 2,048 characters outweigh attention, at that of context the other way round.
LAYERS = Case(MUON, "layers", doubling(1, 16), {"width": 128, "context": 256, "batch": 8}, time=1, memory=1)
WIDTH = Case(MUON, "width", doubling(64, 1024), {"layers": 2, "context": 256, "batch": 8}, "1 to 3", "1 to 2")
CONTEXT = Case(MUON, "context", doubling(128, 16384), {"layers": 2, "width": 128, "batch": 1}, "1 to 2", 1)
BATCH = Case(MUON, "batch", doubling(1, 64), {"layers": 2, "width": 128, "context": 128}, time=1, memory=1)
CASES = (
    *(LAYERS, WIDTH, CONTEXT, BATCH),
    Case(ADAMW, "width", WIDTH.sizes, WIDTH.fixed, "1 to 2", "1 to 2"),
    Case(MICRO_BATCHES, "batch", BATCH.sizes, BATCH.fixed, time=1, memory=0),
)


@dataclass(frozen=True)
class Findings:
    """What scaling_steps.json holds."""

    machine: dict[str, str | int]
    device: str
    commit: str
    settings: str  # how a step is taken
    protocol: Protocol
    curves: list[Curve]
    trial: bool


def prepare(operation: str, device: torch.device, **sizes: int) -> Step:
    return training_step(operation, device, **sizes).take


def training_step(
    operation: str, device: torch.device, layers: int, width: int, context: int, batch: int
) -> TrainingStep:
    shape = Shape(operation, layers, max(1, width // HEAD_SIZE), width, context, batch)
    optimizer = OptimizerKind.adamw if operation == ADAMW else OptimizerKind.muon
    return TrainingStep.of(shape, device, optimizer, micro_batch=1 if operation == MICRO_BATCHES else None)


def find(device: torch.device, protocol: Protocol, quick: bool) -> Findings:
    """Measure every case."""
    revision = commit(ROOT)
    settings = training_step(MUON, device, layers=1, width=2, context=1, batch=1).ours.described()
    cases = [case.quick() if quick else case for case in CASES]
    curves = [measure(case, device, protocol, prepare) for case in tqdm(cases, unit="case", disable=None)]
    return Findings(machine(device), device.type, revision, settings, protocol, curves, quick)


def markdown(found: Findings) -> str:
    """What scaling_steps.md holds."""
    trial = "**A trial of the command: sizes are tiny and timed once, so the figures mean nothing.**\n\n"
    longer = next(curve for curve in found.curves if curve.case.varied == "context")
    return f"""# How the cost of a training step grows with size

{trial if found.trial else ""}{where(found.machine, found.device)}, commit {found.commit}.

From the forward pass to the new weights: {found.settings}, rotary positions, heads of {HEAD_SIZE}
columns. A time is the median of repeated steps after a warm-up; memory is the most bytes of tensors alive at once
beside weights and the optimizer's state, gradients included. Exponents are fitted to sizes of at least the largest /
{FITTED}.

{table([summary(curve) for curve in found.curves])}

What is to be expected, and why:

- Layers: each does and keeps the same.
- Width d: what every character passes through, and the gradients of it, are maps of d^2 weights; what is kept of
  a character is d numbers. Muon's iterations multiply matrices of d by d, which takes d^3 however few characters there
  are (Jordan et al. 2024).
- Context n, of one window: maps take n, attention n^2. The fused kernel forms no weights, so that memory grows as n
  (Dao et al. 2022, theorem 1). On a CPU bf16 forms them up to a context of {EXPLICIT_LONGEST}, where it is faster.
- Batch: each window takes the same, and only the optimizer takes no more for more of them. In micro-batches one window
  is in memory at a time.
- Where memory does not grow at first, what the optimizer computes with is still the most.

## One window, ever longer

{table(each_size(longer))}
"""


def each_size(curve: Curve) -> list[Row]:
    measured = zip(curve.case.sizes, curve.seconds, curve.peak_bytes, strict=True)
    return [{curve.case.varied: f"{n:,}", "ms": 1e3 * time, "MB": memory / 1e6} for n, time, memory in measured]


def find_and_keep(device: torch.device, protocol: Protocol, quick: bool, output: Path) -> None:
    found = find(device, protocol, quick)
    grown = [*dict.fromkeys(curve.case.varied for curve in found.curves)]
    title = f"A training step, {found.settings}: {where(found.machine, found.device)}"
    keep(output, "scaling_steps", asdict(found), markdown(found), partial(plot, found.curves, grown, title))
