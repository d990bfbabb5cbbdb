"""Where the time of one training step goes, and how far it is from what the machine can multiply.

    python -m bench.profile [--quick] [--device cpu|cuda] [--shape small|baby_gpt] [--output bench/results]

`PROTOCOL` says what is timed and what is counted. The report is named for the device.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from bench.arithmetic import count_flop, limit_of
from bench.machine import Protocol, copy_rate, median_seconds, product_rate
from bench.ours import SHAPES, VOCABULARY_SIZE, Shape, shape_on
from bench.peers import commit
from bench.profile_report import Findings, Profile, markdown, plot
from bench.report import keep
from bench.step import TrainingStep, by_kind, phase_seconds, profiled
from bench.stopwatch import ROOT
from training.config import Device, Precision, RuntimeConfig
from training.device import choose_runtime, machine

STEPS = Protocol(warm_up=3, repeats=10, seconds=2.0)
PROFILED = 10  # steps under the profiler
SQUARES = {"cpu": (256, 512, 1024, 2048, 4096), "cuda": (1024, 2048, 4096, 8192, 16384)}  # whose product is the peak

PROTOCOL = f"""\
A step is that of a preset: `training.loop.train_step` with Muon and rotary positions, in the precision that `train.py`
would take, on one random batch of {VOCABULARY_SIZE} distinct characters that is already there, no dropout. It is not
compiled, so that its operations have names of their own. `train.py`, whose `runtime.compile` is `auto`, compiles on a
GPU, and on a CPU for long runs: what stands here of a GPU is not the step that its preset takes.

The time of a step is the median of at least {STEPS.repeats} steps and {STEPS.seconds:g} seconds, after {STEPS.warm_up}
that are not timed. Phases are timed in steps of their own, waiting for the device after each; clipping and the clearing
of gradients belong to the optimizer.

Kinds are shares of {PROFILED} steps under torch's profiler, which slows them as said below: on a CPU the time of each
operation without that of those it calls, on a GPU that of its kernels. All that the optimizer does is the optimizer's.
Everything else is the making of views and of memory, the bookkeeping of autograd, and what lies between operations:
Python on a CPU, waiting for Python on a GPU. In the picture the limit is a share of the step without the profiler.

FLOP of linear maps: 6 for each weight and character. Of attention, for each character: in full 12 L C T, as is usual
(Chowdhery et al. 2022, appendix B); no more than causality needs, about half, 6 L C (T + 1). L: layers, C: width, T:
context. Beside them stands what torch's counter sees: it knows no causality, and where the backward pass of fused
attention forms the scores anew, it counts them again. The optimizer's products are as counted.

The peak is the best rate of a square product in the step's precision. The limit is the time that the step's products
would take at the peak, if they were all it did: linear maps, causal attention, and the optimizer's."""


def find(device: torch.device, shapes: Sequence[Shape], quick: bool) -> Findings:
    """Measure everything."""
    revision, once = commit(ROOT), Protocol(repeats=1, seconds=0)  # the commit as it was at the start
    steps, rates, profiled_steps = (once, once, 2) if quick else (STEPS, Protocol(), PROFILED)
    precision = choose_runtime(RuntimeConfig(device=Device(device.type))).precision
    dtype = torch.bfloat16 if precision is Precision.bf16 else torch.float32
    squares = (64,) if quick else SQUARES[device.type]
    multiplied = {size: product_rate(device, size, rates, dtype) for size in squares}
    peak = max(multiplied.values())
    copied = copy_rate(device, 2**20 if quick else 2**28, rates)
    examined = [tiny(shape) if quick else shape for shape in shapes]
    profiles = [
        examine(shape, device, steps, profiled_steps, peak) for shape in tqdm(examined, unit="shape", disable=None)
    ]
    return Findings(
        machine=machine(device),
        device=device.type,
        commit=revision,
        precision=precision,
        copied_bytes_per_second=copied,
        multiplied_flop_per_second=multiplied,
        peak_flop_per_second=peak,
        profiles=profiles,
        trial=quick,
        steps=steps,
        profiled_steps=profiled_steps,
        protocol=PROTOCOL,
    )


def examine(shape: Shape, device: torch.device, steps: Protocol, profiled_steps: int, peak: float) -> Profile:
    """Time, take apart and count the training step of one shape."""
    flop = count_flop(TrainingStep.of(shape, device), shape)  # a step of its own, as being watched leaves traces
    step = TrainingStep.of(shape, device)
    seconds = median_seconds(step.take, device, steps)
    phases = phase_seconds(step, steps)
    profiled_seconds, operations = profiled(step, profiled_steps)
    return Profile(
        shape=shape,
        parameters=step.ours.decoder.parameter_count(),
        settings=step.ours.described(),
        seconds=seconds,
        profiled_seconds=profiled_seconds,
        phases=phases,
        kinds=by_kind(operations),
        operations=operations,
        flop=flop,
        limit=limit_of(flop, seconds, peak),
    )


def tiny(shape: Shape) -> Shape:
    """A shape for trying the command itself."""
    return replace(shape, layers=2, heads=2, width=32, context=16, batch=2)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny shapes, each timed once: to try the command itself")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shape", choices=tuple(SHAPES), help="by default all, in one report")
    parser.add_argument("--output", type=Path, default=Path("bench/results"), metavar="FOLDER")
    options = parser.parse_args(argv)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: expected cpu, got cuda on a machine without it")
    shapes = [shape_on(options.device, name) for name in SHAPES if options.shape in (None, name)]

    found = find(torch.device(options.device), shapes, options.quick)
    keep(options.output, f"profile_{options.device}", asdict(found), markdown(found), partial(plot, found))


if __name__ == "__main__":
    main()
