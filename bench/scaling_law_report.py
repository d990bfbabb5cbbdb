"""Runs of the scaling-law study as a page and a plot."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np

from bench.law import Law, fit_law
from bench.report import STYLES, Row, table, where

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOURCE = "Hoffmann et al. 2022, Training Compute-Optimal Large Language Models, equation 2; Kaplan et al. 2020"


@dataclass(frozen=True)
class Run:
    """A decoder, how long it was trained, and what came of it."""

    layers: int
    heads: int
    width: int
    steps: int
    parameters: int  # of the maps in the blocks
    all_parameters: int
    characters: int
    loss: float  # nats/char over the whole validation split, at the end
    seconds: float
    corpus_sha256: str
    precision: str
    commit: str


@dataclass(frozen=True)
class Prediction:
    """A run beside the law that was fitted to it and all others, and the one that was fitted to the others alone."""

    run: Run
    fitted: float  # its loss
    left_out: float
    law_without: Law

    def row(self) -> Row:
        run = self.run
        shape: Row = {"layers": run.layers, "width": run.width, "parameters": run.parameters}
        losses: Row = {"loss": run.loss, "fitted": self.fitted, "from the others": self.left_out}
        return shape | {"characters": run.characters} | losses | {"off by": self.left_out - run.loss}


@dataclass(frozen=True)
class Findings:
    """What scaling_law.json holds."""

    machine: dict[str, str | int]
    device: str
    text: str
    context: int
    batch: int
    law: Law
    predictions: list[Prediction]
    largest_from_smaller: Prediction  # the longest run of the largest decoder, from runs that are less in both
    smaller: int  # how many those are
    trial: bool
    source: str = SOURCE


def law_of(runs: Sequence[Run]) -> Law:
    return fit_law(*zip(*((run.parameters, run.characters, run.loss) for run in runs), strict=True))


def predicted(run: Run, law: Law, others: Sequence[Run]) -> Prediction:
    without = law_of(others)
    at = run.parameters, run.characters
    return Prediction(run, law.loss(*at), without.loss(*at), without)


def markdown(found: Findings) -> str:
    """What scaling_law.md holds."""
    law, runs, largest = found.law, [each.run for each in found.predictions], found.largest_from_smaller
    commits, precisions = (", ".join(sorted({getattr(run, name) for run in runs})) for name in ("commit", "precision"))
    fitted = _rms([each.fitted - each.run.loss for each in found.predictions])
    left_out = _rms([each.left_out - each.run.loss for each in found.predictions])
    trial = "**A trial of the command: the decoders learn nothing, so the figures mean nothing.**\n\n"
    spread: list[Row] = [
        {"": name, "fitted to all runs": getattr(law, name)} | _range(found, name) for name in ("E", "a", "b")
    ]
    return f"""# Loss against parameters and characters

{trial if found.trial else ""}{where(found.machine, found.device)}, commit {commits}.

{len(runs)} runs of `train.py` on {found.text}, one seed each, context {found.context},
{found.batch} windows a step, {precisions}, the same learning rates for all sizes. N: weights of the maps in the blocks;
D: characters trained on; L: loss over the whole validation split at the end of a run, in nats/char.
The seconds of runs, in the JSON, are no result: other work was allowed beside them.

## The law

L = {law.E:.3f} + {law.A:.3g} / N^{law.a:.3f} + {law.B:.3g} / D^{law.b:.3f}, by least squares of the relative error.
Form: {found.source}.

{table(spread, _cell)}

- At the runs it was fitted to it is off by {fitted:.3f} nats/char (root mean square).
- Fitted to all runs but one, it is off by {left_out:.3f} at that one (root mean square over all).
- Fitted to the {found.smaller} runs of both fewer parameters and fewer characters, it foretells {largest.left_out:.3f}
  for the longest run of the largest decoder, which came to {largest.run.loss:.3f}.
- For a given product of N and D, which is what training costs, the best N grows as the power
  {law.parameters_by_compute():.2f} of it.
- Where the range of E is wide or reaches zero, the runs are too far from what no decoder gets below to tell it.
- Batches being of one size, D also counts optimizer steps: b is of both.

## Runs

{table([each.row() for each in found.predictions], _cell)}
"""


def _range(found: Findings, name: str) -> Row:
    values = [getattr(each.law_without, name) for each in found.predictions]
    return {"lowest without one run": min(values), "highest": max(values)}


def _rms(errors: Sequence[float]) -> float:
    return sqrt(mean(error**2 for error in errors))


def _cell(_: str, cell: object) -> str:
    return f"{cell:z.3f}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else str(cell)


def plot(found: Findings) -> "Figure":
    """Loss against characters, a line a size, and against parameters, a line a length; lines are the law's."""
    from matplotlib.figure import Figure  # runs do without it

    runs = [each.run for each in found.predictions]
    figure = Figure(figsize=(11, 6), layout="constrained")
    figure.suptitle(f"Loss by the law (lines) and of runs (markers): {found.text}")
    by_characters, by_parameters = figure.subplots(1, 2, sharey=True)
    for axes, x, line in (by_characters, "characters", "parameters"), (by_parameters, "parameters", "characters"):
        places = sorted({getattr(run, x) for run in runs})
        smooth = np.geomspace(places[0], places[-1]).tolist()
        for value, (colour, marker) in zip(sorted({getattr(run, line) for run in runs}), STYLES, strict=False):
            losses = [run.loss for run in runs if getattr(run, line) == value]  # in the order of places
            axes.plot(places, losses, color=colour, marker=marker, ls="", label=f"{value:,} {line}")
            axes.plot(smooth, [found.law.loss(**{x: place, line: value}) for place in smooth], color=colour)
        axes.loglog()
        axes.set_xticks(places, [f"{place:,}" for place in places])
        axes.set_xticks([], minor=True)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.set(xlabel=f"{x}{' in the blocks' * (x == 'parameters')}", ylabel="validation loss (nats/char)")
        axes.grid(alpha=0.3, which="both")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)  # there it hides no run
    return figure
