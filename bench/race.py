"""Seconds to a validation loss: this project's presets beside nanoGPT's preset of the same size, or an earlier build's.

    python -m bench.race --nanogpt FOLDER --text FILE [--target LOSS] [--seeds 0 1 2] [--device cpu|cuda] [--quick]
    python -m bench.race --baseline FOLDER --text FILE [--presets NAME ...] [--precision fp32] [--seeds 0 1 2] ...

--nanogpt: a clone of github.com/karpathy/nanoGPT, which is run as it is. --baseline: a checkout of an earlier commit of
this project, whose median final loss is the target; --presets that both have, in one --precision. --text: tiny
Shakespeare. Every run is a process of its own; one at a time, and all have their turn with a seed before the next seed.
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from tqdm import tqdm

from bench.commands import run_command
from bench.harness import ROOT, Options, Report, Row, commit
from bench.racers import CONFIG, NANOGPT, OUR_QUICK_SETTINGS, OUR_SETTINGS, Race, Run, run_charscope
from data.config import DataConfig, Source
from data.corpus import Corpus
from training.config import Precision

# nats/char. On a CPU nanoGPT's preset once came to the first, and its README states the second for its GPU preset.
TARGETS = {"cpu": 1.8857, "cuda": 1.4697}
PRESETS = {"cpu": ("laptop", "shakespeare_cpu"), "cuda": ("shakespeare_gpu",)}  # that race an earlier build's


def figures(run: Run, theirs: Run, target: float) -> dict[str, float]:
    """A run's times and losses, beside nanoGPT's run with the same seed. Infinity is what was not reached."""
    seconds, their_seconds = run.counted_seconds(target), theirs.counted_seconds(target)
    return {
        "to target from process start, s": run.start_up + seconds,
        "from first step, s": seconds,
        "process start to first step, s": run.start_up,
        "time / nanoGPT's from process start": (run.start_up + seconds) / (theirs.start_up + their_seconds),
        "from first step": seconds / their_seconds,
        "whole run from first step, s": run.seconds,
        "final loss": run.evaluations[-1].loss,
        "best loss within nanoGPT's run": run.loss_within(theirs.seconds),
    }


def row(name: str, seed: object, reached: str, found: dict[str, float]) -> Row:
    cells = {
        title: "not reached" if value == float("inf") else f"{value:.4f}" if "loss" in title else value
        for title, value in found.items()
    }
    return {"run": name, "seed": seed, "reached": reached, **cells}


def rows(runs: Sequence[Run], target: float) -> tuple[list[Row], list[Row]]:
    """The medians of each contestant, and each run."""
    theirs = {run.seed: run for run in runs if run.name == NANOGPT}
    medians, single = list[Row](), list[Row]()
    for name in dict.fromkeys(run.name for run in runs):
        those = [run for run in runs if run.name == name]
        found = [figures(run, theirs[run.seed], target) for run in those]
        reached = [run.reaches(target) for run in those]
        middle = {title: median(each[title] for each in found) for title in found[0]}
        medians.append(row(name, "median", f"{sum(reached)} of {len(those)}", middle))
        for run, yes, each in zip(those, reached, found, strict=True):
            single.append(row(name, run.seed, "yes" if yes else "no", each))
    return medians, single


def race_builds(options: Namespace, seeds: Sequence[int]) -> None:
    """Each preset of this tree and of the earlier build in turn; another one begins with each seed."""
    baseline = options.baseline.resolve()
    title = "Seconds from process start to an earlier build's final loss"
    report = Report(f"race_baseline_{options.device}", title, torch.device(options.device), options.quick)
    report.data |= {"versions": {"baseline": commit(baseline), "precision": options.precision}, "presets": {}}
    for preset in options.presets or PRESETS[options.device]:
        settings = [
            f"experiment={preset}",
            f"runtime.device={options.device}",
            f"runtime.precision={options.precision}",
        ]
        settings += (OUR_QUICK_SETTINGS * options.quick).split()
        if "shakespeare" in preset:
            settings.append(f"data.path={options.text.resolve()}")
        pairs: list[dict[Path, Run]] = []
        for turn, seed in enumerate(tqdm(seeds, desc=preset, unit="seed", disable=None)):
            pairs.append({})
            for checkout in (ROOT, baseline)[:: -1 if turn % 2 else 1]:
                with TemporaryDirectory() as folder:
                    pairs[-1][checkout] = run_charscope(preset, seed, Path(folder), *settings, checkout=checkout)
        target = median(pair[baseline].evaluations[-1].loss for pair in pairs)
        found = [(pair[ROOT], pair[baseline]) for pair in pairs]
        report.add(f"{preset}: to {target:.4f} nats/char", [paired_row(*pair, target) for pair in found])
        report.data["presets"][preset] = {"target": target, "runs": found}
        report.save(options.output)  # the next takes as long again


def paired_row(ours: Run, theirs: Run, target: float) -> Row:
    """An earlier build counts with its whole run up to the last evaluation, whether or not it is at the target."""
    mine = ours.start_up + ours.counted_seconds(target)
    other = theirs.start_up + theirs.evaluations[-1].seconds
    both = [("this tree", ours), ("baseline", theirs)]
    return {
        "seed": ours.seed,
        "s, this tree": mine if ours.reaches(target) else "not reached",
        "s, baseline": other,
        "ratio": mine / other if ours.reaches(target) else "not reached",
        **{f"final loss, {name}": f"{run.evaluations[-1].loss:.4f}" for name, run in both},
        "peak memory / baseline's": ours.peak_memory / theirs.peak_memory,
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = Options("race", __doc__, nanogpt_file=CONFIG, baseline=True)
    parser.add_argument("--text", type=Path, required=True, metavar="FILE", help="tiny Shakespeare")
    defaults = " and ".join(f"{target} on {device}" for device, target in TARGETS.items())
    parser.add_argument("--target", type=float, metavar="LOSS", help=f"nats/char, by default {defaults}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument(
        "--presets", nargs="+", metavar="NAME", help="by default those of the size of a peer's, and laptop"
    )
    parser.add_argument("--precision", default="auto", choices=list(Precision), help="of both builds")
    options = parser.read(argv)
    if bool(options.nanogpt) == bool(options.baseline):
        parser.error("expected --nanogpt or --baseline, and not both")
    if not options.text.is_file():
        parser.error(f"--text: expected a file, got {options.text}")
    seeds = [*dict.fromkeys(options.seeds[:1] if options.quick else options.seeds)]
    if options.baseline:
        race_builds(options, seeds)
        return
    target = TARGETS[options.device] if options.target is None else options.target
    # The same split as that of every run, which checks the text for its own context.
    corpus = Corpus.load(DataConfig(source=Source.tiny_shakespeare, path=str(options.text)), context=1)
    race = Race(options.nanogpt, options.text.resolve(), corpus, options.device, options.quick)
    title = f"Seconds to a validation loss of {target} nats/char"
    report = Report(f"race_{options.device}", title, torch.device(options.device), options.quick)
    report.data["versions"] |= {"nanoGPT": commit(race.nanogpt), "Text (SHA-256)": corpus.sha256}

    importing = [run_command("-c", "import torch; print(flush=True)").first_byte for _ in range(1 if race.quick else 5)]
    first, *others = OUR_SETTINGS[race.device]
    turns = [(name, seed) for seed in seeds for name in (first, NANOGPT, *others)]
    runs = [race.run(*turn) for turn in tqdm(turns, unit="run", disable=None)]
    medians, single = rows(runs, target)
    report.add("Medians", medians, f"`import torch` alone takes {median(importing):.2f} s.")
    report.add("Every run", single)
    report.data |= {"target": target, "import_torch_seconds": importing, "runs": runs}
    report.save(options.output)


if __name__ == "__main__":
    main()
