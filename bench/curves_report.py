"""Curves as rows of a table and as a plot."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.curves import Curve
from bench.report import STYLES, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def summary(curve: Curve) -> Row:
    """The exponents of a curve beside those to be expected."""
    case = curve.case
    return {
        "operation": case.operation,
        "growing": f"{case.varied} to {case.sizes[-1]}",
        "fixed": ", ".join(f"{name} = {size}" for name, size in case.fixed.items()),
        "time: expected": case.time,
        "time: fitted": curve.time,
        "memory: expected": "" if case.memory is None else case.memory,
        "memory: fitted": curve.memory,
    }


def plot(curves: Sequence[Curve], grown: Sequence[str], title: str) -> "Figure":
    """Time and memory against each size of `grown`, axes logarithmic. Raises ModuleNotFoundError without matplotlib."""
    from matplotlib.figure import Figure  # measuring does without it

    styles = dict(zip(dict.fromkeys(curve.case.operation for curve in curves), STYLES, strict=False))
    figure = Figure(figsize=(5.5 * len(grown), 8), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(2, len(grown), sharex="col")
    for varied, (time, memory) in zip(grown, panels.T, strict=True):
        for curve in (curve for curve in curves if curve.case.varied == varied):
            case = curve.case
            colour, marker = styles[case.operation]
            for axes, values, fitted in (time, curve.seconds, curve.time), (memory, curve.peak_bytes, curve.memory):
                label = f"{case.operation}, $\\mathrm{{{varied}}}^{{{fitted:.2f}}}$"
                axes.loglog(case.sizes, values, color=colour, marker=marker, label=label)
        for axes, quantity in (time, "time (s)"), (memory, "peak memory (bytes)"):
            axes.set_xscale("log", base=2)  # sizes double
            axes.set(xlabel=varied, ylabel=quantity)
            axes.grid(alpha=0.3)
            axes.legend()
    return figure
