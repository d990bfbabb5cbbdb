"""What `bench.profile` found, as it is kept: what its JSON holds, its Markdown and its picture."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench.arithmetic import Flop, Limit
from bench.machine import Protocol
from bench.ours import Shape
from bench.report import Row, table, where
from bench.step import EVERYTHING_ELSE, KINDS, Operation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LISTED = 12  # operations of a shape in Markdown; JSON has all

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
    commit: str  # of this checkout, or why there is none
    precision: str
    copied_bytes_per_second: float  # at best, read and written
    multiplied_flop_per_second: dict[int, float]  # by the size of the squares
    peak_flop_per_second: float  # the best of them
    profiles: list[Profile]
    trial: bool  # of the command itself: tiny shapes, each timed once
    steps: Protocol
    profiled_steps: int
    protocol: str


def markdown(found: Findings) -> str:
    """What profile_<device>.md holds."""
    trial = "**A trial of the command: shapes are tiny and timed once, so the figures mean nothing.**\n\n"
    squares: list[Row] = [
        {"size": size, f"GFLOP/s in {found.precision}": rate / 1e9}
        for size, rate in found.multiplied_flop_per_second.items()
    ]
    balance = found.peak_flop_per_second / found.copied_bytes_per_second
    return f"""# Where the time of a training step goes

{trial if found.trial else ""}{where(found.machine, found.device)}, {found.precision}.
Charscope: commit {found.commit}.

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


def plot(found: Findings) -> "Figure":
    """A bar for each shape, in kinds, with the limit marked. Raises ModuleNotFoundError without matplotlib."""
    from matplotlib.figure import Figure  # measuring does without it

    figure = Figure(figsize=(11, 2.2 + 1.1 * len(found.profiles)), layout="constrained")
    axes = figure.subplots()
    title = "A trial, which means nothing" if found.trial else "Where the time of a training step goes"
    axes.set_title(f"{title}: {where(found.machine, found.device)}, {found.precision}", fontsize=10)
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
    return figure
