"""Losses of finished runs of `shakespeare_gpu` beside nanoGPT's GPU preset, as a table and a plot. Trains nothing.

    python -m bench.curves RUN [RUN ...] [--output FOLDER]

RUN: a folder that train.py wrote. nanoGPT's losses are those of a public log: results/nanogpt_gpu_preset.json.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import torch

from bench.harness import ROOT, Report, Row, new_figure
from bench.racers import scalars

PUBLISHED = ROOT / "bench/results/nanogpt_gpu_preset.json"
KINDS = {"validation": "-", "training": "--"}  # losses, and the style of their lines
Curve = Sequence[dict[str, float]]  # step and losses of each evaluation


def curve(run: Path) -> Curve:
    """Validation losses, each with the mean of the training losses since the one before, in nats/char."""
    found, points, before = scalars(run), list[dict[str, float]](), 0
    for each in found["loss/validation"]:
        training = [other.value for other in found["loss/training"] if before < other.step <= each.step]
        points.append({"step": each.step, "training": fmean(training), "validation": each.value})
        before = each.step
    return points


def rows(curves: dict[str, Curve]) -> list[Row]:
    """Validation losses at every step where a curve has one."""
    losses = {
        name: {point["step"]: f"{point['validation']:.4f}" for point in points} for name, points in curves.items()
    }
    steps = sorted({step for of_one in losses.values() for step in of_one})
    return [{"step": step, **{name: of_one.get(step, "") for name, of_one in losses.items()}} for step in steps]


def plot(curves: dict[str, Curve], file: Path) -> None:
    figure = new_figure(8, 4.5)
    if figure is None:
        return
    axes = figure.subplots()
    for number, (name, points) in enumerate(curves.items()):
        for kind, style in KINDS.items():
            losses = [(point["step"], point[kind]) for point in points if point["step"]]  # at step 0 far above all
            axes.plot(*zip(*losses, strict=True), style, color=f"C{number}", label=f"{name}, {kind}")
    axes.set(xlabel="step (64 windows of 256 characters)", ylabel="loss (nats/char)", ylim=(0.5, 2.3))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=100)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.curves", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a folder that train.py wrote")
    parser.add_argument("--output", type=Path, default=Path("bench/results"), metavar="FOLDER")
    options = parser.parse_args(argv)
    curves, summaries = dict[str, Curve](), []
    for run in options.runs:
        if not (run / "summary.json").is_file():
            parser.error(f"RUN: expected the folder of a finished run, got {run} without summary.json")
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        summary["settings"].pop("data.path", None)  # a folder of that machine
        summaries.append(summary)
        if (name := f"seed {summary['seed']}") in curves:
            parser.error(f"RUN: expected runs of different seeds, got {name} twice")
        curves[name] = curve(run)
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    device, best = summaries[0]["device"], [summary["best_validation_loss"] for summary in summaries]
    report = Report(f"curves_{device}", "Losses beside nanoGPT's GPU preset", torch.device("cpu"), False)
    report.data["versions"] = {"nanoGPT": f"{published['source']}, commit {published['commit']}"}
    report.data |= {"runs": summaries, "curves": curves}
    fields = ("seed", "parameters", "steps", "seconds", "hardware", "precision", "compile")
    found = [
        {field: each[field] for field in fields} | {"best": f"{loss:.4f}"}
        for each, loss in zip(summaries, best, strict=True)
    ]
    report.add("Runs", found, f"Mean of the best: {fmean(best):.4f} nats/char.")
    report.add("Validation loss, nats/char", rows(curves | {"nanoGPT's preset": published["curve"]}))
    report.save(options.output)
    plot({"nanoGPT's preset": published["curve"]} | curves, options.output / f"{report.name}.png")


if __name__ == "__main__":
    main()
