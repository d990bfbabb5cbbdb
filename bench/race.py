"""How soon a validation loss is reached by the presets of Charscope and by that of nanoGPT which has the same size.

    python -m bench.race --nanogpt FOLDER --text FILE [--target LOSS] [--seeds 0 1 2] [--device cpu|cuda] [--quick]

FOLDER is a clone of github.com/karpathy/nanoGPT, which is run as it is. Every run is a process of its own under
`bench.stopwatch`; one runs at a time, and each seed has its turn with all before the next seed has. Wall time counts.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from textwrap import fill
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from bench.peers import commit
from bench.racers import CONFIG, NANOGPT, OUR_SETTINGS, PRESET, SPRINT, Race, Run
from bench.report import Row, keep, table, where
from bench.standings import median_rows, pair_rows, paired, run_rows, within_rows
from bench.stopwatch import ROOT, RunFailedError
from data.config import DataConfig, Source
from data.corpus import Corpus
from errors import UserError
from training.device import machine

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TARGETS = {"cpu": 1.8857, "cuda": 1.4697}  # nats/char; PROTOCOL says where from

PROTOCOL = (
    "Loss is the mean over the whole validation split, the last tenth of the text, in nats/char: windows of one "
    "context that do not overlap, every character scored once, the first by the last character of the training split.",
    "The target is reached at the first evaluation at or under it; nothing is interpolated.",
    f"By default the target on a CPU is {TARGETS['cpu']}, the final loss of nanoGPT's CPU preset as once measured on "
    f"another machine, and on a GPU {TARGETS['cuda']}, what nanoGPT's README states for its GPU preset.",
    "The sprint, which runs on a CPU alone, was made for the default target: its number of steps, its batch size and "
    "with them the schedule of its learning rates were chosen, on seed 0, so as to reach it soon, and it evaluates "
    "once, at its end. The preset was not chosen for a target, and evaluates throughout.",
    "Each run is a process of its own, one at a time, by the command that a user would give. Its start is noted before "
    "it is spawned; its first step is the first forward pass in training mode, before torch.compile compiles it.",
    "The time of an evaluation of Charscope ends when its loss is known. It holds that evaluation with the attention "
    "maps drawn before it, and all earlier evaluations, samples and saving. Charscope is evaluated in the precision of "
    "its training, which is bf16 where the machine has fast instructions for it, nanoGPT in fp32.",
    "nanoGPT's time holds its own estimates, from random batches, and its own saving. Its loss over the whole split is "
    "computed outside its time, by its own model in fp32, from a copy of each checkpoint. A checkpoint has the time at "
    "which its saving began, less the seconds that earlier copies took.",
    "nanoGPT estimates its loss once before its first step. That, with compiling for evaluation where it compiles, is "
    "in its time from process start but not in that from the first step, which is in its favour.",
    "nanoGPT saves where its estimate improved; here it is told to save each time, or evaluations would be missing.",
    "nanoGPT has no setting for its seed: the stopwatch adds ours to the one that it has.",
    "A run of nanoGPT that never reaches the target counts with its whole time, which is in its favour.",
)

# Colours of Okabe and Ito 2008.
STYLES = {SPRINT: ("#0072B2", "o"), PRESET: ("#009E73", "^"), NANOGPT: ("#D55E00", "s")}


def import_seconds(repeats: int) -> float:
    """The median time of a process that does nothing but import torch."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        times.append(time.perf_counter() - start)
    return median(times)


@dataclass(frozen=True)
class Findings:
    """What the JSON holds. In the rows, None is what was not reached."""

    machine: dict[str, str | int]
    device: str
    target: float
    text: str
    text_sha256: str
    commit: str  # of this checkout, or why there is none
    nanogpt_commit: str  # likewise
    import_torch_seconds: float
    runs: list[Run]
    every_run: list[Row]
    medians: list[Row]
    pairs: list[Row]  # of each of ours with nanoGPT
    within: list[Row]
    trial: bool  # of the command itself: tiny models and a few steps
    protocol: tuple[str, ...] = PROTOCOL


def find(race: Race, seeds: Sequence[int], target: float) -> Findings:
    """Run everything."""
    our_commit, their_commit = commit(ROOT), commit(race.nanogpt)  # as they were at the start
    import_torch = import_seconds(1 if race.quick else 5)
    turns = [(contestant, seed) for seed in seeds for contestant in race.contestants()]
    runs = [race.run(*turn) for turn in tqdm(turns, unit="run", disable=None)]
    ours = [contestant for contestant in race.contestants() if contestant != NANOGPT]
    return Findings(
        machine=machine(torch.device(race.device)),
        device=race.device,
        target=target,
        text=race.corpus.description,
        text_sha256=race.corpus.sha256,
        commit=our_commit,
        nanogpt_commit=their_commit,
        import_torch_seconds=import_torch,
        runs=runs,
        every_run=run_rows(runs, target),
        medians=median_rows(runs, target, import_torch),
        pairs=[row for contestant in ours for row in pair_rows(paired(runs, contestant), target)],
        within=within_rows(paired(runs, PRESET)),
        trial=race.quick,
    )


def markdown(found: Findings) -> str:
    """What the Markdown file holds."""
    trial = "**A trial of the command: models are tiny and take a few steps, so the figures mean nothing.**\n\n"
    commands = {run.contestant: run.command for run in reversed(found.runs)}
    protocol = "\n".join(fill(f"- {sentence}", 120, subsequent_indent="  ") for sentence in found.protocol)
    late = sum(run.contestant == NANOGPT and run.seconds_to(found.target) is None for run in found.runs)
    return f"""# Seconds to a validation loss of {found.target} nats/char

{trial * found.trial}{where(found.machine, found.device)}.

- Text: {found.text}.
- Commit of Charscope: {found.commit}.
- Commit of nanoGPT: {found.nanogpt_commit}.
- `import torch` alone takes {found.import_torch_seconds:.2f} s.
- Runs of nanoGPT that did not reach the target: {late}{", counted with their whole time: in its favour" * bool(late)}.

{table(found.medians, shown)}

## Our time / time of nanoGPT, by seed

{table(found.pairs, shown)}

## Loss after nanoGPT's own time

{table(found.within, shown)}

## Every run

{table(found.every_run, shown)}

## Protocol

{protocol}

Command of the first run of each, below its own working directory:

```
{chr(10).join(reversed(commands.values()))}
```
"""


def shown(name: str, cell: object) -> str:
    """A cell as its table has it."""
    if cell is None:
        return "none yet" if "loss" in name else "not reached"
    return f"{cell:.{4 if 'loss' in name else 2}f}" if isinstance(cell, float) else str(cell)


def plot(found: Findings) -> "Figure":
    """Loss against seconds from the first step, a line a run. Raises ModuleNotFoundError without matplotlib."""
    from matplotlib.figure import Figure  # measuring does without it
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    for run in found.runs:
        colour, marker = STYLES[run.contestant]
        first = run.seed == found.runs[0].seed  # one entry of the legend for all seeds
        axes.plot(
            [seen.seconds for seen in run.evaluations],
            [seen.loss for seen in run.evaluations],
            color=colour,
            marker=marker,
            markersize=4,
            label=run.contestant if first else None,
        )
    axes.axhline(found.target, color="black", linestyle="--", label=f"target {found.target}")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.xaxis.set_major_formatter("{x:g}")  # plain numbers, no powers of ten
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="seconds from the first step", ylabel="validation loss (nats/char)")
    trial = "Trial: figures mean nothing. " if found.trial else ""
    axes.set_title(trial + where(found.machine, found.device), fontsize=10)
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    return figure


def prepared(options: argparse.Namespace) -> Race:
    """Raises UserError for what could only fail later."""
    for file in ("train.py", "model.py", "configurator.py", CONFIG):
        if not (options.nanogpt / file).is_file():
            raise UserError(f"--nanogpt: expected a clone of nanoGPT, got {options.nanogpt}, which has no {file}")
    if not options.text.is_file():
        raise UserError(f"--text: expected a file, got {options.text}")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device: expected cpu, got cuda on a machine without it")
    if len(set(options.seeds)) < len(options.seeds):
        raise UserError(f"--seeds: expected each once, got {' '.join(map(str, options.seeds))}")
    if options.output.exists() and not options.output.is_dir():
        raise UserError(f"--output: expected a folder, got {options.output}")
    data = DataConfig(source=Source.tiny_shakespeare, path=str(options.text))
    corpus = Corpus.load(data, context=1)  # each run checks for its own
    return Race(options.nanogpt.resolve(), options.text.resolve(), corpus, options.device, options.quick)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.race", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nanogpt", type=Path, required=True, metavar="FOLDER", help="a clone of it")
    parser.add_argument("--text", type=Path, required=True, metavar="FILE", help="tiny Shakespeare")
    defaults = " and ".join(f"{target} on {device}" for device, target in TARGETS.items())
    parser.add_argument("--target", type=float, metavar="LOSS", help=f"nats/char, by default {defaults}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--device", choices=tuple(OUR_SETTINGS), default="cpu")
    parser.add_argument("--quick", action="store_true", help="tiny models, few steps, one seed: to try the command")
    parser.add_argument("--output", type=Path, default=Path("bench/results"), metavar="FOLDER")
    options = parser.parse_args(argv)
    target = TARGETS[options.device] if options.target is None else options.target
    try:
        race = prepared(options)
        found = find(race, options.seeds[:1] if options.quick else options.seeds, target)
    except (UserError, RunFailedError) as error:
        print(f"python -m bench.race: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UserError) else 1)
    keep(options.output, f"race_{options.device}", asdict(found), markdown(found), partial(plot, found))


if __name__ == "__main__":
    main()
