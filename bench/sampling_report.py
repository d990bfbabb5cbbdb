"""What `bench.sampling` found, as it is kept: what its JSON holds, its Markdown and its picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.ours import Shape
from bench.report import where
from bench.throughput import ratio
from bench.throughput_report import OUR_COLOUR, PEER_COLOUR, Spread, told
from bench.workers import Ready
from training.comparison import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Turn:
    """What one contestant did in one round."""

    first: float  # seconds to one id of each sequence, the median of several calls
    filling: float  # seconds to as many ids of each as fill the context
    whole: float  # seconds to all ids of each
    growth: int  # bytes by which the peak of its memory has grown since it was ready


@dataclass(frozen=True)
class Ratios:
    """How many times as fast as a peer, round by round."""

    first: Spread
    filling: Spread
    whole: Spread

    @classmethod
    def of(cls, ours: Sequence[Turn], theirs: Sequence[Turn]) -> "Ratios":
        names = ("first", "filling", "whole")
        return cls(*(ratio(*([getattr(turn, name) for turn in turns] for turns in (ours, theirs))) for name in names))


@dataclass(frozen=True)
class Result:
    """What one contestant came to."""

    name: str
    settings: str
    parameters: int
    turns: list[Turn]
    first_seconds: Spread
    filling_speed: Spread  # characters/s, of all sequences together
    whole_speed: Spread  # likewise
    growth: int  # bytes, after the last turn
    ratios: dict[str, Ratios]  # if it is one of ours: to each peer

    @classmethod
    def of(
        cls,
        name: str,
        ready: Ready,
        turns: list[Turn],
        batch: int,
        lengths: tuple[int, int],
        peers: Mapping[str, Sequence[Turn]],
    ) -> "Result":
        filling, whole = lengths
        return cls(
            name,
            ready.settings,
            ready.parameters,
            turns,
            first_seconds=Spread.of([turn.first for turn in turns]),
            filling_speed=Spread.of([batch * filling / turn.filling for turn in turns]),
            whole_speed=Spread.of([batch * whole / turn.whole for turn in turns]),
            growth=turns[-1].growth,
            ratios={peer: Ratios.of(turns, theirs) for peer, theirs in peers.items()},
        )


@dataclass(frozen=True)
class Contest:
    """All contestants with so many sequences side by side."""

    batch: int
    filling: int  # ids of each sequence while the context fills
    whole: int  # ids of each sequence
    results: list[Result]
    failed: dict[str, str]  # why


@dataclass(frozen=True)
class Late:
    """What an id costs in the middle of a long sequence, and near its beginning."""

    early: tuple[int, int]  # the first and the last id of a stretch, counted from 1
    late: tuple[int, int]
    seconds: list[tuple[float, float]]  # an id in both, the mean of the stretch, in each run
    ratio: Spread  # late / early


@dataclass(frozen=True)
class Limit:
    """The most ids/s of one sequence if reading took all the time."""

    weight_bytes: int  # the matrices of the blocks and the output layer, read for each id
    cache_bytes: int  # keys and values of a full context
    bytes_per_second: float
    ids_per_second: float


@dataclass(frozen=True)
class StartUp:
    """Seconds from the start of a process to its first byte of output."""

    checkpoint: str  # what it holds
    import_torch: Spread
    sample: Spread
    ratio: Spread  # sample / import_torch, turn by turn
    turns: int


@dataclass(frozen=True)
class Findings:
    machine: dict[str, str | int]
    device: str
    commit: str  # of this checkout, or why there is none
    protocol: str
    shape: Shape  # its batch is not used
    rounds: int
    versions: dict[str, str]
    left_out: dict[str, str]  # why
    contests: list[Contest]
    late: Late
    limit: Limit
    start_up: StartUp | None
    trial: bool  # of the command itself: tiny sizes

    def share(self) -> float | None:
        """The part of the limit that charscope reaches; None if it was not timed with one sequence."""
        reached = [
            result.whole_speed.median
            for contest in self.contests
            for result in contest.results
            if contest.batch == 1 and result.name == "charscope"
        ]
        return reached[0] / self.limit.ids_per_second if reached else None


def markdown(found: Findings) -> str:
    """What sampling_DEVICE.md holds."""
    trial = "**A trial of the command: sizes are tiny, so the figures mean nothing.**\n\n" * found.trial
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    left_out = "".join(f"Left out: {name}, {reason}.\n" for name, reason in found.left_out.items())
    shape = found.shape
    sections = "\n".join(section(contest) for contest in found.contests)
    return f"""# Sampling speed beside peers

{trial}{where(found.machine, found.device)}, {found.rounds} rounds.
Charscope: commit {found.commit}.
Peers: {versions or "none"}.
Shape: {shape.layers} layers, {shape.heads} heads, width {shape.width}, context {shape.context}.
{left_out}
{found.protocol}

{sections}
## charscope alone

{alone(found)}"""


def section(contest: Contest) -> str:
    """One batch size."""
    filling, whole = f"{contest.filling:,} ids", f"{contest.whole:,} ids"
    head = ["contestant", "runs in", "parameters", "ms to the first", f"characters/s, {filling}"]
    figures = [[*head, f"characters/s, {whole}", "memory, MB"]]
    figures += [
        [
            result.name,
            result.settings,
            f"{result.parameters:,}",
            told(scaled(result.first_seconds, 1e3), ".2f"),
            told(result.filling_speed, ",.0f"),
            told(result.whole_speed, ",.0f"),
            f"{result.growth / 10**6:,.1f}",
        ]
        for result in contest.results
    ]
    compared = [result for result in contest.results if result.ratios]
    ratios = [["times as fast as", "to the first", filling, whole]]
    ratios += [
        [f"{result.name} / {peer}", *(told(spread, ".2f") for spread in (ratio.first, ratio.filling, ratio.whole))]
        for result in compared
        for peer, ratio in result.ratios.items()
    ]
    failed = "".join(f"\n{name} failed: {reason}\n" for name, reason in contest.failed.items())
    tables = "\n\n".join(markdown_table(rows) for rows in (figures, ratios) if len(rows) > 1)
    return f"## Batch {contest.batch}: {whole} of each sequence\n\n{tables}\n{failed}"


def scaled(spread: Spread, factor: float) -> Spread:
    return Spread(factor * spread.median, factor * spread.lowest, factor * spread.highest)


def alone(found: Findings) -> str:
    """What only charscope was asked."""
    late, limit, share, start_up = found.late, found.limit, found.share(), found.start_up
    early_ids, late_ids = (f"ids {first:,} to {last:,}" for first, last in (late.early, late.late))
    milliseconds = (told(Spread.of([1e3 * pair[place] for pair in late.seconds]), ".3f") for place in (0, 1))
    rows = [["quantity", "value"]]
    rows += [[f"ms an id, {ids}", figure] for ids, figure in zip((early_ids, late_ids), milliseconds, strict=True)]
    rows += [
        ["late / early", told(late.ratio, ".2f")],
        ["weights read for an id, MB", f"{limit.weight_bytes / 10**6:,.2f}"],
        ["keys and values of a full context, MB", f"{limit.cache_bytes / 10**6:,.2f}"],
        ["reading, GB/s", f"{limit.bytes_per_second / 1e9:,.1f}"],
        ["ids/s at best", f"{limit.ids_per_second:,.0f}"],
        ["share of it reached", "not known without batch 1" if share is None else f"{share:.0%}"],
    ]
    if start_up:
        rows += [
            ["s, `import torch`", told(start_up.import_torch, ".2f")],
            [f"s, the first character of `sample.py`, {start_up.checkpoint}", told(start_up.sample, ".2f")],
            ["`sample.py` / `import torch`", f"{told(start_up.ratio, '.2f')}, {start_up.turns} turns"],
        ]
    return markdown_table(rows) + "\n"


def plot(found: Findings) -> "Figure":
    """Bars of characters/s, a panel for each batch size. Raises ModuleNotFoundError without matplotlib."""
    from matplotlib.figure import Figure  # measuring does without it
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(9, 0.6 + 2.4 * len(found.contests)), layout="constrained")
    trial = "Trial: figures mean nothing. " if found.trial else ""
    figure.suptitle(f"{trial}Sampling: {where(found.machine, found.device)}")
    panels = figure.subplots(len(found.contests), squeeze=False, sharex=True)[:, 0]
    for axes, contest in zip(panels, found.contests, strict=True):
        speeds = [result.whole_speed for result in contest.results]
        reach = [[s.median - s.lowest for s in speeds], [s.highest - s.median for s in speeds]]
        colours = [OUR_COLOUR if result.name.startswith("charscope") else PEER_COLOUR for result in contest.results]
        axes.barh([result.name for result in contest.results], [s.median for s in speeds], xerr=reach, color=colours)
        axes.invert_yaxis()  # ours first
        axes.set(title=f"batch {contest.batch}, {contest.whole:,} ids of each", xscale="log")
        axes.grid(axis="x", alpha=0.3, which="both")
    panels[-1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # of all: they share it
    panels[-1].xaxis.set_major_formatter("{x:,.0f}")
    panels[-1].xaxis.set_minor_formatter(NullFormatter())
    panels[-1].set_xlabel("characters/s, median of rounds (lowest to highest)")
    return figure
