"""Speed-up of training by more processes, each with a thread or a GPU of its own.

python -m bench.processes [--quick] [--device cpu|cuda] [--processes N ...] [--rounds N] [--output bench/results]
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from tqdm import tqdm

from bench.commands import random_text, steps_of, train
from bench.harness import Options, Report, Row, Spread
from bench.training_step import SHAPES, Shape, shape_on

BATCHES = {"small": 12, "baby_gpt": 8}  # of one process in weak scaling
ROUNDS = 3


@dataclass(frozen=True)
class Setup:
    """Training by so many processes, each with `threads` on a CPU."""

    scaling: str
    shape: Shape  # of a step, by all of them
    processes: int
    threads: int = 1


def setups(shape: Shape, counts: Sequence[int], device: str) -> list[Setup]:
    """One process with one thread, then what is compared with it."""
    found = [Setup("", shape, 1)]
    for count in counts:
        found.append(Setup("weak", replace(shape, batch=count * shape.batch), count))
        found.append(Setup("strong", shape, count))
        if device == "cpu":
            found.append(Setup("threads", shape, 1, threads=count))
    return found


def characters_per_second(setup: Setup, device: str, steps: int) -> float:
    """Of training steps alone. Raises RunFailedError if the processes fail."""
    with TemporaryDirectory() as folder:
        run, text = Path(folder, "run"), random_text(Path(folder, "text.txt"))
        environment = {"OMP_NUM_THREADS": str(setup.threads)}
        _, summary = train(run, text, device, setup.shape, steps, processes=setup.processes, environment=environment)
        return float(summary["characters_per_second"])


def rows(compared: Sequence[Setup], rounds: Sequence[Sequence[float]]) -> list[Row]:
    """Each setup, its speed beside that of the first in the same round."""
    found = list[Row]()
    for index, setup in enumerate(compared):
        gain = Spread.of([turn[index] / turn[0] for turn in rounds])
        row: dict[str, object] = {"shape": setup.shape.name, "scaling": setup.scaling, "processes": setup.processes}
        row |= {"threads each": setup.threads, "batch": setup.shape.batch}
        row |= {"characters/s": f"{median(turn[index] for turn in rounds):,.0f}", "times one": gain}
        found.append(row | {"of the ideal": f"{gain.median / (setup.processes * setup.threads):.0%}"})
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = Options("processes", __doc__, rounds=ROUNDS)
    parser.add_argument("--processes", type=int, nargs="+", default=[2], metavar="N", help="how many, besides one")
    options = parser.read(argv)
    if min(options.processes) < 2:
        parser.error(f"--processes: expected at least 2, got {min(options.processes)}")
    if options.device == "cuda" and (available := torch.cuda.device_count()) < max(options.processes):
        parser.error(f"--processes: expected at most one for each of {available} GPUs, got {max(options.processes)}")
    title = "Training by several processes"
    report = Report(f"processes_{options.device}", title, torch.device(options.device), options.quick)
    for name in ["small"] if options.quick else SHAPES:
        shape = replace(shape_on(options.device, name, options.quick), batch=4 if options.quick else BATCHES[name])
        compared = setups(shape, options.processes, options.device)
        steps = steps_of(name, options.device, options.quick)
        rounds = [
            [characters_per_second(setup, options.device, steps) for setup in compared]
            for _ in tqdm(range(options.rounds), desc=name, unit="round", disable=None)
        ]
        report.data[name] = {"setups": compared, "characters_per_second": rounds}
        report.add(f"{name}: {steps} steps", rows(compared, rounds))
    report.save(options.output)


if __name__ == "__main__":
    main()
