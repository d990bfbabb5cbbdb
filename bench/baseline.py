"""This tree beside a checkout of an earlier commit, by the commands that both have: train.py and sample.py.

Called by `python -m bench.throughput --baseline FOLDER`. Module names differ between builds; the commands, the names of
their settings and `characters_per_second` in summary.json do not.
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tqdm import tqdm

from bench.commands import random_text, run_command, steps_of, summary_of, train_settings
from bench.harness import ROOT, Report, Row, Spread, commit, times_as_fast
from bench.training_step import Shape

COUNT, LENGTH = 10, 2000  # samples at once, and characters of each

Times = dict[str, float]  # seconds by what took them


def compare(baseline: Path, shapes: Sequence[Shape], device: torch.device, options: Namespace) -> None:
    """Measure both in turn, and write baseline_DEVICE.md and .json."""
    report = Report(f"baseline_{device.type}", "This tree beside an earlier build", device, options.quick)
    report.data["versions"]["baseline"] = commit(baseline)
    for shape in shapes:
        steps = steps_of(shape.name, device.type, options.quick)
        rounds: dict[Path, list[Times]] = {ROOT: [], baseline: []}
        with TemporaryDirectory() as folder:
            text = random_text(Path(folder, "text.txt"))
            for turn in tqdm(range(1 + options.rounds), desc=shape.name, unit="round", disable=None):
                for side, checkout in enumerate([*rounds][:: 1 if turn % 2 else -1]):
                    run = Path(folder, f"run_{turn}_{side}")
                    settings = train_settings(run, text, device.type, shape, steps)
                    length = 20 if options.quick else LENGTH
                    rounds[checkout].append(measure(checkout, shape, settings, run, length))
        ours, theirs = (times[1:] for times in rounds.values())
        report.add(f"{shape.name}: {shape}, {steps} steps", rows(ours, theirs))
        report.data.setdefault("shapes", []).append({"shape": shape, "ours": ours, "baseline": theirs})
    report.save(options.output)


def measure(checkout: Path, shape: Shape, settings: Sequence[str], run: Path, length: int) -> Times:
    """Seconds of one turn. Raises RunFailedError if a command fails."""
    training = run_command("train.py", *settings, checkout=checkout)
    summary = summary_of(run)
    sampling = "sample.py", f"checkpoint={run}", settings[2], "seed=0"
    one = run_command(*sampling, f"length={length}", checkout=checkout)
    first, many = (run_command(*sampling, f"count={COUNT}", f"length={n}", checkout=checkout) for n in (1, length))
    return {
        "training step": shape.batch * shape.context / summary["characters_per_second"],
        "start of train.py": training.ended - summary["seconds"],
        "character of one sample": (one.last_byte - one.first_byte) / length,
        f"character of {COUNT} samples": max(many.ended - first.ended, 0.001) / (COUNT * (length - 1)),
        "start of sample.py": one.first_byte,
    }


def rows(ours: Sequence[Times], theirs: Sequence[Times]) -> list[Row]:
    """A row for each quantity: milliseconds of both, and how many times as fast this tree is."""
    found = list[Row]()
    for name in ours[0]:
        mine, other = ([times[name] for times in side] for side in (ours, theirs))
        cells = {"this tree": f"{Spread.of(mine) * 1e3:,.3f}", "baseline": f"{Spread.of(other) * 1e3:,.3f}"}
        found.append({"ms of a": name, **cells, "times as fast": f"{times_as_fast(mine, other):.3f}"})
    return found
