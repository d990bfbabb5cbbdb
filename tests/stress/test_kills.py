"""Whether a run is ever lost: ended again and again at random moments, and struck by faults.

    python -m bench.chaos [--kills N] [--seed N] [--setups N] [--steps N] [--faults [NAME...]] [--output bench/results]

Runs of a real `train.py`, with all logging on, end by SIGKILL and are gone on with until they finish. Then they must be
what a run is that nothing befell: every bit of their checkpoints, every curve, map, sample and setting, but for what
tells the time. After each kill, what is there must be readable, and as in that other run. `bench.faults` has what else
may happen. Whether all of it holds is said by the exit code, too.
"""

import argparse
import hashlib
import json
import logging
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from torch import Tensor
from tqdm import tqdm

from bench.faults import FAULTS, Bed, befall, end, held, saved_at, saved_step, unfinished, unless, unloadable
from bench.peers import commit
from bench.report import Row, keep, table, where
from bench.soak import TINY, Process, write_text
from bench.stopwatch import ROOT
from training.checkpoint import BEST, LAST, load_checkpoint
from training.device import machine

KILLS = 100
COMMON = (
    "training.steps=1500 training.evaluate_every=150 training.checkpoint_every=20 model.context=16 "
    "board.attention_every=20 board.pictures_every=50 board.sample_length=50"
)
SETUPS = {
    "Muon, rotary, dropout, bf16": "model.dropout=0.1 runtime.precision=bf16",
    "AdamW, learned positions, micro-batches, fp32, saved by the clock": "training.optimizer=adamw "
    "model.position=learned training.micro_batch_size=3 runtime.precision=fp32 training.checkpoint_every=.002min",
    "lines, additive": "data.unit=line model.context=32 model.scoring=additive training.steps=1000",
    "single heads, distance, attention dropout": "model.attention=[single] model.scoring=distance "
    "model.position=sinusoidal model.attention_dropout=0.1",
    "fp16, saved after each step": "runtime.precision=fp16 training.checkpoint_every=1 training.steps=500",
}
CLOCKS = ("seconds", "training_seconds", "characters_per_second", "date")  # what may differ
AT_THE_END = ("result/", "_hparams_/")  # of a run, and again when it is gone on with from there
MOMENTS = ("starting", "training", "saving")  # of a kill: before the first checkpoint; else; in a file left unfinished
EARLY, AIMED = 1 / 5, 1 / 3  # shares of the kills: before the first checkpoint, and when a file is being written
DELAY = 0.005  # seconds, at most, that an aimed kill comes after that file was begun
PROGRESS = 1 / 4  # of a run, which a life may make at most
Logged = dict[str, tuple[tuple[int, bytes], ...]]  # steps and values, by tag


def leaves(tree: Any, name: str) -> Iterator[tuple[str, str]]:
    """Every value in `tree` by its name, but those of clocks. Two that are equal have all their bits in common."""
    if is_dataclass(tree):
        tree = {each.name: getattr(tree, each.name) for each in fields(tree)}
    elif isinstance(tree, list):
        tree = dict(enumerate(tree))
    if isinstance(tree, dict):
        for key, branch in tree.items():
            yield from leaves(branch, f"{name}/{key}")
    elif isinstance(tree, Tensor):
        content = tree.reshape(-1).view(torch.uint8).numpy().tobytes()
        yield name, f"{tree.dtype} {tuple(tree.shape)} {hashlib.sha256(content).hexdigest()}"
    elif not name.endswith(CLOCKS):
        yield name, repr(tree)


def logged(run: Path) -> Logged:
    """As TensorBoard reads it."""
    events = EventAccumulator(str(run), tensor_size_guidance={}, size_guidance={"tensors": 0}).Reload()
    found = {}
    for tag in events.Tags()["tensors"]:
        values = tuple((each.step, each.tensor_proto.SerializeToString()) for each in events.Tensors(tag))
        found[tag] = tuple(dict.fromkeys(values)) if tag.startswith(AT_THE_END) else values
    return found


def everything(run: Path) -> dict[str, str]:
    """All that a finished run has come to, by name. Raises OSError or ValueError if it cannot be read."""
    parts: dict[str, Any] = {name: load_checkpoint(run / "checkpoints" / name) for name in (LAST, BEST)}
    parts["summary.json"] = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    parts["board"] = logged(run)
    parts["unfinished"] = [file.name for file in run.rglob(".*.tmp")]
    return {name: leaf for part, tree in parts.items() for name, leaf in leaves(tree, part)}


def differences(run: Path, reference: Path) -> list[str]:
    """The names of all in which a run is not what it should be."""
    try:
        return sorted({name for name, _ in everything(run).items() ^ everything(reference).items()})
    except (OSError, ValueError) as error:  # a UserError is one of the latter
        return [f"unreadable: {error}"]


def misread(run: Path, reference: Logged, step: int) -> list[str]:
    """The tags in which not all is as it was logged up to `step`."""
    found = logged(run) if run.exists() else {}
    return [
        tag
        for tag, values in reference.items()
        if not tag.startswith(AT_THE_END) and not tag.endswith(CLOCKS)
        if [each for each in values if each[0] <= step] != [each for each in found.get(tag, ()) if each[0] <= step]
    ]


@dataclass
class Tally:
    """What kills have done to the runs of a setup."""

    setup: str
    kills: int = 0
    moments: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MOMENTS, 0))
    finished: int = 0  # runs, each of which was compared
    unloadable: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def struck(process: Process, run: Path, bed: Bed, chance: random.Random) -> str | None:
    """Kill `process` at a random moment. Returns which of `MOMENTS` it was; None if it had ended by itself."""
    before, left = saved_at(run), unfinished(run)
    if chance.random() < EARLY:
        process.exit_code(bed.starting * chance.random())
    else:
        process.until(lambda: saved_at(run) > before)
        process.exit_code(bed.training * PROGRESS * chance.random())
    if chance.random() < AIMED:
        process.until(lambda: bool(unfinished(run) - left))
        time.sleep(chance.choice((0, DELAY * chance.random())))
    if not process.killed():
        return None
    return "saving" if unfinished(run) - left else "training" if saved_at(run) > before else "starting"


def endure(bed: Bed, folder: Path, kills: int, chance: random.Random, tally: Tally) -> Iterator[None]:
    """Kill runs in `folder` so often, and let each of them finish. Yields after every kill."""
    board = logged(bed.reference)
    for number in count():
        run, step = folder / f"run_{number}", -1  # of the last checkpoint
        while tally.kills < kills:
            with closing(bed.start(run)) as process:
                if not (moment := struck(process, run, bed, chance)):
                    tally.differences += end(process)
                    break
            tally.kills += 1
            tally.moments[moment] += 1
            if problems := unloadable(run):
                tally.unloadable += problems
            else:
                before, step = step, saved_step(run)
                lost = unless(step >= before, f"back from step {before} to {step}") + misread(run, board, step)
                tally.differences += [f"{problem}, after kill {tally.kills}" for problem in lost]
            yield
        tally.differences += end(bed.start(run)) + bed.differences(run)
        tally.finished += 1
        if tally.kills == kills:
            return


@dataclass(frozen=True)
class Findings:
    """What chaos_cpu.json holds."""

    machine: dict[str, str | int]
    commit: str  # of this checkout, or why there is none
    seed: int  # of when kills fall
    tallies: list[Tally]
    faults: list[dict[str, str]]
    trial: bool  # of the command itself: fewer kills, setups or faults

    def problems(self) -> list[str]:
        found = [problem for tally in self.tallies for problem in tally.unloadable + tally.differences]
        return found + [f"{row['fault']}: {row['found']}" for row in self.faults if not held(row)]


def markdown(found: Findings) -> str:
    """What chaos_cpu.md holds."""
    trial = "**A trial of the command: too little befell the runs.**\n\n"
    rows: list[Row] = [
        {"setup": each.setup, "kills": each.kills}
        | {f"while {moment}": each.moments[moment] for moment in MOMENTS}
        | {"runs finished": each.finished, "unloadable": len(each.unloadable), "differences": len(each.differences)}
        for each in found.tallies
    ]
    counts = ((each.kills, len(each.differences), len(each.unloadable)) for each in found.tallies)
    kills, differ, broken = map(sum, zip(*counts, strict=True))
    problems = "".join(f"- {problem}\n" for problem in found.problems())
    return f"""# Is a run ever lost?

{trial if found.trial else ""}{where(found.machine, "cpu")}.
Charscope: commit {found.commit}. Seed of the kills: {found.seed}.

**{kills} kills, {differ} differences, {broken} unloadable checkpoints.**

SIGKILL at random moments, {EARLY:.0%} of them before training begins, {AIMED:.0%} aimed at saves, until a run finishes;
then every bit of its checkpoints, every curve, map, sample and setting is compared with a run that nothing befell, but
for what tells the time. Starting: before this process has saved anything. Saving: the kill left an unfinished file.

{table(rows)}

{problems}
## Faults

{table(found.faults) if found.faults else "None was tried."}
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=KILLS, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of when kills fall")
    some = range(1, len(SETUPS) + 1)
    parser.add_argument("--setups", type=int, choices=some, default=some[-1], metavar="N", help="the first N alone")
    parser.add_argument("--steps", type=int, metavar="N", help="shorter runs, to try the command itself")
    parser.add_argument("--faults", nargs="*", choices=FAULTS, default=list(FAULTS), metavar="NAME")
    parser.add_argument("--output", type=Path, default=Path("bench/results"), metavar="FOLDER")
    options = parser.parse_args(argv)
    if options.kills < 1:
        parser.error(f"--kills: expected at least 1, got {options.kills}")
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of every run that was gone on with
    chance, revision, beds, tallies = random.Random(options.seed), commit(ROOT), list[Bed](), list[Tally]()
    with TemporaryDirectory() as directory, ExitStack() as started, tqdm(total=options.kills, disable=None) as bar:
        folder = Path(directory)
        write_text(folder / "text.txt")
        for number, (setup, settings) in enumerate(list(SETUPS.items())[: options.setups]):
            given = [*TINY, *COMMON.split(), *settings.split(), f"data.path={folder / 'text.txt'}"]
            given += [f"training.steps={options.steps}"] if options.steps else []
            beds.append(Bed(given, folder / str(number) / "reference", differences, started))
            tallies.append(Tally(setup))
            share = -(-(options.kills - number) // options.setups)  # all together are options.kills
            for _ in endure(beds[-1], folder / str(number), share, chance, tallies[-1]):
                bar.update()
        faults = [befall(name, beds[0], folder) for name in options.faults]
    trial = bool(options.steps) or (options.kills, len(tallies), len(faults)) < (KILLS, len(SETUPS), len(FAULTS))
    found = Findings(machine(torch.device("cpu")) | {"threads": 1}, revision, options.seed, tallies, faults, trial)
    keep(options.output, "chaos_cpu", asdict(found), markdown(found))
    sys.exit(1 if found.problems() else 0)


if __name__ == "__main__":
    main()
