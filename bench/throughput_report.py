"""What `bench.throughput` found, as it is kept: what its JSON holds, its Markdown and its picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from bench.machine import Protocol
from bench.ours import Shape
from bench.report import where
from training.comparison import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OUR_COLOUR, PEER_COLOUR = "#D55E00", "#0072B2"  # colours of Okabe and Ito 2008


@dataclass(frozen=True)
class Spread:
    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Result:
    """What one contestant came to."""

    name: str
    settings: str
    parameters: int
    round_seconds: list[float]  # a step, the median of each round
    step_seconds: float  # median of rounds
    characters_per_second: Spread
    ratios: dict[str, Spread]  # if it is one of ours: how many times as fast as each peer


@dataclass(frozen=True)
class Contest:
    """All contestants at one shape."""

    shape: Shape
    results: list[Result]
    failed: dict[str, str]  # why


@dataclass(frozen=True)
class Findings:
    machine: dict[str, str | int]
    device: str
    commit: str  # of this checkout, or why there is none
    protocol: str
    timing: Protocol  # of a round
    rounds: int
    versions: dict[str, str]
    left_out: dict[str, str]  # why
    contests: list[Contest]
    trial: bool  # of the command itself: tiny sizes, each timed once


def markdown(found: Findings) -> str:
    """What throughput_DEVICE.md holds."""
    trial = "**A trial of the command: sizes are tiny and timed once, so the figures mean nothing.**\n\n"
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    left_out = "".join(f"Left out: {name}, {reason}.\n" for name, reason in found.left_out.items())
    sections = "\n".join(section(contest) for contest in found.contests)
    return f"""# Training speed beside peers

{trial if found.trial else ""}{where(found.machine, found.device)}, {found.rounds} rounds.
Charscope: commit {found.commit}.
Peers: {versions or "none"}; torch.nn.TransformerEncoder is of torch.
{left_out}
{found.protocol}

{sections}"""


def section(contest: Contest) -> str:
    """One shape."""
    shape = contest.shape
    speeds = [["contestant", "runs in", "parameters", "ms/step", "characters/s"]]
    speeds += [
        [
            result.name,
            result.settings,
            f"{result.parameters:,}",
            f"{1e3 * result.step_seconds:.2f}",
            told(result.characters_per_second, ",.0f"),
        ]
        for result in contest.results
    ]
    compared = [result for result in contest.results if result.ratios]
    peers = list(compared[0].ratios) if compared else []
    ratios = [["times as fast as", *peers]]
    ratios += [[result.name, *(told(result.ratios[peer], ".2f") for peer in peers)] for result in compared]
    failed = "".join(f"\n{name} failed: {reason}\n" for name, reason in contest.failed.items())
    sizes = (
        f"{shape.layers} layers, {shape.heads} heads, width {shape.width}, context {shape.context}, batch {shape.batch}"
    )
    tables = "\n\n".join(markdown_table(rows) for rows in (speeds, ratios) if len(rows) > 1)
    return f"## {shape.name}: {sizes}\n\n{tables}\n{failed}"


def told(spread: Spread, form: str) -> str:
    return f"{spread.median:{form}} ({spread.lowest:{form}} to {spread.highest:{form}})"


def plot(found: Findings) -> "Figure":
    """Bars of characters/s, a panel for each shape. Raises ModuleNotFoundError without matplotlib."""
    from matplotlib.figure import Figure  # measuring does without it

    figure = Figure(figsize=(9, 0.6 + 2.8 * len(found.contests)), layout="constrained")
    figure.suptitle(f"Training: {where(found.machine, found.device)}")
    panels = figure.subplots(len(found.contests), squeeze=False)[:, 0]
    for axes, contest in zip(panels, found.contests, strict=True):
        names = [result.name for result in contest.results]
        speeds = [result.characters_per_second for result in contest.results]
        reach = [[s.median - s.lowest for s in speeds], [s.highest - s.median for s in speeds]]
        colours = [OUR_COLOUR if result.ratios else PEER_COLOUR for result in contest.results]
        axes.barh(names, [s.median for s in speeds], xerr=reach, color=colours)
        axes.invert_yaxis()  # ours first
        axes.set(title=contest.shape.name, xlabel="characters/s, median of rounds (lowest to highest)")
        axes.grid(axis="x", alpha=0.3)
    return figure
