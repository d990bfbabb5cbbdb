"""Where the time of one training step goes, and how far it is from what the machine can multiply.

    python -m bench.profile [--quick] [--device cpu|cuda] [--shape small|baby_gpt] [--output bench/results]

`PROTOCOL` says what is timed and what is counted. The report is named for the device.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from bench.arithmetic import Flop, Limit, count_flop, limit_of
from bench.machine import Protocol, copy_rate, median_seconds, product_rate
from bench.ours import CPU_BATCHES, SHAPES, VOCABULARY_SIZE, Shape
from bench.scaling import Row, table
from bench.step import EVERYTHING_ELSE, KINDS, Operation, Run, by_kind, phase_seconds, profiled
from files import replacing
from training.config import Device, Precision, RuntimeConfig
from training.runtime import choose_runtime, machine

STEPS = Protocol(warm_up=3, repeats=10, seconds=2.0)
PROFILED = 10  # steps under the profiler
SQUARES = {"cpu": (256, 512, 1024, 2048, 4096), "cuda": (1024, 2048, 4096, 8192, 16384)}  # whose product is the peak
LISTED = 12  # operations of a shape in Markdown; JSON has all

PROTOCOL = f"""\
A step is that of a preset: `training.loop.train_step` with Muon and rotary positions, in the precision that `train.py`
would take, not compiled, on one random batch of {VOCABULARY_SIZE} distinct characters that is already there, no
dropout. Its time is the median of at least {STEPS.repeats} steps and {STEPS.seconds:g} seconds, after {STEPS.warm_up}
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

COLOURS = ("#0072B2", "#D55E00", "#F0E442", "#009E73", "#56B4E9", "#E69F00", "#CC79A7", "#000000")  # Okabe and Ito 2008
LIGHT = {"#F0E442", "#56B4E9", "#E69F00", "#CC79A7"}  # on which words are black
REST_COLOUR = "#CCCCCC"
READABLE = 0.04  # share that has room for its number


@dataclass(frozen=True)
class Profile:
    """What was found for one shape."""

    shape: Shape
    parameters: int
    settings: str
    seconds: float  # of a step
    profiled_seconds: float
    phases: dict[str, float]  # seconds
    kinds: dict[str, float]  # shares
    operations: list[Operation]
    flop: Flop
    limit: Limit


@dataclass(frozen=True)
class Findings:
    """What profile_<device>.json holds."""

    machine: dict[str, str | int]
    device: str
    precision: str
    copied_bytes_per_second: float  # at best, read and written
    multiplied_flop_per_second: dict[int, float]  # by the size of the squares
    peak_flop_per_second: float  # the best of them
    profiles: list[Profile]
    trial: bool  # of the command itself: tiny shapes, each timed once
    steps: Protocol
    profiled_steps: int
    protocol: str = PROTOCOL

    def where(self) -> str:
        threads = "" if self.device == "cuda" else f", {self.machine['threads']} threads"
        return f"{self.machine['hardware']}{threads}, torch {self.machine['torch']}, {self.machine['date']}"


def find(device: torch.device, shapes: Sequence[Shape], quick: bool) -> Findings:
    """Measure everything."""
    once = Protocol(repeats=1, seconds=0)
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
        precision=precision,
        copied_bytes_per_second=copied,
        multiplied_flop_per_second=multiplied,
        peak_flop_per_second=peak,
        profiles=profiles,
        trial=quick,
        steps=steps,
        profiled_steps=profiled_steps,
    )


def examine(shape: Shape, device: torch.device, steps: Protocol, profiled_steps: int, peak: float) -> Profile:
    """Time, take apart and count the training step of one shape."""
    flop = count_flop(Run.of(shape, device), shape)  # a run of its own, as being watched leaves traces
    run = Run.of(shape, device)
    seconds = median_seconds(run.step, device, steps)
    phases = phase_seconds(run, steps)
    profiled_seconds, operations = profiled(run, profiled_steps)
    return Profile(
        shape=shape,
        parameters=run.ours.decoder.parameter_count(),
        settings=run.ours.described(),
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


def markdown(found: Findings) -> str:
    """What profile_<device>.md holds."""
    trial = "**A trial of the command: shapes are tiny and timed once, so the figures mean nothing.**\n\n"
    squares: list[Row] = [
        {"size": size, f"GFLOP/s in {found.precision}": rate / 1e9}
        for size, rate in found.multiplied_flop_per_second.items()
    ]
    balance = found.peak_flop_per_second / found.copied_bytes_per_second
    return f"""# Where the time of a training step goes

{trial if found.trial else ""}{found.where()}, {found.precision}.

{found.protocol}

## A step

{table([step_row(profile) for profile in found.profiles])}

## By kind of operation

{table(kind_rows(found.profiles))}

## The operations that take longest

{table([row for profile in found.profiles for row in operation_rows(profile)])}

## Arithmetic of a step, GFLOP

{table([flop_row(profile) for profile in found.profiles])}

## Distance to the limit

{table([limit_row(profile) for profile in found.profiles])}

The peak is {found.peak_flop_per_second / 1e9:,.1f} GFLOP/s, the best of these products:

{table(squares)}

The machine copies {found.copied_bytes_per_second / 1e9:.1f} GB/s, read and written. What takes fewer than
{balance:.1f} FLOP for each byte that it moves cannot reach the peak: memory bounds it.
"""


def step_row(profile: Profile) -> Row:
    shape = profile.shape
    parts = {f"{name}, ms": 1e3 * seconds for name, seconds in profile.phases.items()}
    return {
        "shape": shape.name,
        "layers": shape.layers,
        "heads": shape.heads,
        "width": shape.width,
        "context": shape.context,
        "batch": shape.batch,
        "parameters": f"{profile.parameters:,}",
        "runs in": profile.settings,
        "step, ms": 1e3 * profile.seconds,
        **parts,
        "characters/s": f"{shape.batch * shape.context / profile.seconds:,.0f}",
        "step under the profiler, ms": 1e3 * profile.profiled_seconds,
    }


def kind_rows(profiles: Sequence[Profile]) -> list[Row]:
    return [{"kind": kind, **{found.shape.name: percent(found.kinds[kind]) for found in profiles}} for kind in KINDS]


def operation_rows(profile: Profile) -> list[Row]:
    return [
        {
            "shape": profile.shape.name,
            "operation": operation.name,
            "kind": operation.kind,
            "calls in a step": f"{operation.calls:g}",
            "share": percent(operation.share),
        }
        for operation in profile.operations[:LISTED]
    ]


def flop_row(profile: Profile) -> Row:
    counts: Row = {name.replace("_", ", "): f"{count / 1e9:.4g}" for name, count in asdict(profile.flop).items()}
    return {"shape": profile.shape.name, **counts}


def limit_row(profile: Profile) -> Row:
    limit = profile.limit
    return {
        "shape": profile.shape.name,
        "GFLOP/s over the step": limit.flop_per_second / 1e9,
        "share of the peak": percent(limit.share_of_peak),
        "limit, ms": 1e3 * limit.seconds,
        "step, ms": 1e3 * profile.seconds,
        "distance": f"{limit.distance:.1f} times the limit",
    }


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def plot(found: Findings, file: Path) -> None:
    """A bar for each shape, in kinds, with the limit marked. Raises ModuleNotFoundError without matplotlib."""
    from matplotlib.figure import Figure  # measuring does without it

    figure = Figure(figsize=(11, 2.2 + 1.1 * len(found.profiles)), layout="constrained")
    axes = figure.subplots()
    title = "A trial, which means nothing" if found.trial else "Where the time of a training step goes"
    axes.set_title(f"{title}: {found.where()}, {found.precision}", fontsize=10)
    names = [f"{profile.shape.name}\n{1e3 * profile.seconds:.3g} ms" for profile in found.profiles]
    starts = [0.0] * len(names)
    colours = dict(zip((kind for kind in KINDS if kind != EVERYTHING_ELSE), COLOURS, strict=True))
    for kind in KINDS:
        shares = [profile.kinds[kind] for profile in found.profiles]
        if any(shares):
            colour = colours.get(kind, REST_COLOUR)
            bars = axes.barh(names, shares, left=starts, height=0.5, color=colour, edgecolor="white", label=kind)
            ink = "black" if kind == EVERYTHING_ELSE or colour in LIGHT else "white"
            labels = [f"{share:.0%}" if share >= READABLE else "" for share in shares]
            axes.bar_label(bars, labels, label_type="center", color=ink, fontsize=9)
        starts = [start + share for start, share in zip(starts, shares, strict=True)]
    for row, profile in enumerate(found.profiles):
        at, top = profile.limit.share_of_peak, row - 0.36
        side = "left" if at < 0.6 else "right"  # where there is room for words
        label = f" limit {1e3 * profile.limit.seconds:.3g} ms: the step takes {profile.limit.distance:.1f} times that "
        axes.plot((at, at), (top, row + 0.3), color="black", linewidth=2.5)
        axes.annotate(label, (at, top), horizontalalignment=side, verticalalignment="center", fontsize=9)
    axes.invert_yaxis()  # the first shape on top
    axes.set(xlim=(0, 1), xlabel="share of the step")
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    with replacing(file) as stream:
        figure.savefig(stream, format="png", dpi=100)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny shapes, each timed once: to try the command itself")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shape", choices=tuple(SHAPES), help="by default all, in one report")
    parser.add_argument("--output", type=Path, default=Path("bench/results"), metavar="FOLDER")
    options = parser.parse_args(argv)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: expected cpu, got cuda on a machine without it")
    batches = CPU_BATCHES if options.device == "cpu" else {}
    shapes = [
        replace(shape, batch=batches.get(name, shape.batch))
        for name, shape in SHAPES.items()
        if options.shape in (None, name)
    ]

    found = find(torch.device(options.device), shapes, options.quick)
    text, name = markdown(found), f"profile_{options.device}"
    print(text)
    for suffix, content in ("json", json.dumps(asdict(found), indent=2) + "\n"), ("md", text):
        with replacing(options.output / f"{name}.{suffix}") as stream:
            stream.write(content.encode())
    try:
        plot(found, options.output / f"{name}.png")
    except ModuleNotFoundError:
        print("no plot: it needs matplotlib, pip install --constraint constraints.txt --editable '.[bench]'")
    print(f"kept in {options.output}")


if __name__ == "__main__":
    main()
