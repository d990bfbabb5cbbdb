"""Runs of a race as the rows of its tables. In a row, None is what was not reached."""

import math
from collections.abc import Sequence
from statistics import median

from bench.racers import NANOGPT, Run
from bench.report import Row

START, FIRST_STEP = "to target from process start, s", "from first step, s"


def run_rows(runs: Sequence[Run], target: float) -> list[Row]:
    """A row for each run, as it went."""
    rows: list[Row] = []
    for run in runs:
        seconds = run.seconds_to(target)
        times: Row = {START: None if seconds is None else run.start_up + seconds, FIRST_STEP: seconds}
        ends: Row = {"final loss": run.evaluations[-1].loss, "whole run from first step, s": run.seconds}
        rows.append({"run": run.contestant, "seed": run.seed} | times | ends)
    return rows


def median_rows(runs: Sequence[Run], target: float, import_torch: float) -> list[Row]:
    """A row for each contestant."""
    rows: list[Row] = []
    for contestant in dict.fromkeys(run.contestant for run in runs):
        those = [run for run in runs if run.contestant == contestant]
        reached = sum(run.seconds_to(target) is not None for run in those)
        start_up = median(run.start_up for run in those)
        seconds = [run.counted_seconds(target) for run in those]
        from_start = [run.start_up + each for run, each in zip(those, seconds, strict=True)]
        times: Row = {START: finite(median(from_start)), FIRST_STEP: finite(median(seconds))}
        starts: Row = {
            "process start to first step, s": start_up,
            "as multiple of `import torch`": start_up / import_torch,
        }
        loss: Row = {"final loss": median(run.evaluations[-1].loss for run in those)}
        rows.append({"median of": contestant, "reached": f"{reached} of {len(those)}"} | times | loss | starts)
    return rows


def paired(runs: Sequence[Run], contestant: str) -> list[tuple[Run, Run]]:
    """The runs of `contestant`, each with that of nanoGPT of the same seed."""
    theirs = {run.seed: run for run in runs if run.contestant == NANOGPT}
    return [(run, theirs[run.seed]) for run in runs if run.contestant == contestant]


def pair_rows(pairs: Sequence[tuple[Run, Run]], target: float) -> list[Row]:
    """The time of one of ours as a share of theirs for each pair, and the medians."""
    from_start, from_first_step = [], []
    for ours, theirs in pairs:
        our_seconds, their_seconds = ours.counted_seconds(target), theirs.counted_seconds(target)
        from_start.append((ours.start_up + our_seconds) / (theirs.start_up + their_seconds))
        from_first_step.append(our_seconds / their_seconds)
    seeds = [*(str(ours.seed) for ours, _ in pairs), "median"]
    ratios = zip(seeds, [*from_start, median(from_start)], [*from_first_step, median(from_first_step)], strict=True)
    contestant = pairs[0][0].contestant
    return [
        {"time of": contestant, "seed": seed, "from process start": finite(p), "from first step": finite(f)}
        for seed, p, f in ratios
    ]


def within_rows(pairs: Sequence[tuple[Run, Run]]) -> list[Row]:
    """What ours had come to when theirs ended, each counted from its first step."""
    return [
        {
            "seed": theirs.seed,
            "nanoGPT's whole run, s": theirs.seconds,
            "its final loss": theirs.evaluations[-1].loss,
            "its best loss": theirs.loss_within(theirs.seconds),
            f"best loss of {ours.contestant} by then": ours.loss_within(theirs.seconds),
        }
        for ours, theirs in pairs
    ]


def finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
