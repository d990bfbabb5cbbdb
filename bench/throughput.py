"""Training speed of this project beside its peers, or beside an earlier build of it, in turn at equal shapes.

    python -m bench.throughput [--nanogpt FOLDER | --baseline FOLDER] [--shape small baby_gpt] [--rounds N] [--quick]

--nanogpt: a clone of github.com/karpathy/nanoGPT; the other peers come with the extra `bench`. --baseline: a checkout
of an earlier commit of this project, which is then compared instead of the peers, by the commands of both: the names of
modules differ between builds; the commands, their settings and `characters_per_second` in summary.json do not.
"""

from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tqdm import tqdm

from bench.commands import random_text, run_command, steps_of, train
from bench.harness import ONCE, ROOT, Options, Protocol, Report, Row, Spread, commit, median_seconds, times_as_fast
from bench.peers import training_peers
from bench.training_step import SHAPES, Shape, TrainingStep, random_ids, shapes_on
from bench.workers import Answer, Contestant, Model, Outcome, compete, installed
from data.batches import Batch
from model.config import PositionKind
from training.config import Compile, OptimizerKind

ROUNDS = 7
BATCHES = 8  # made beforehand, used in turn
TURN = Protocol(warm_up=0, repeats=3, seconds=2.0)
COUNT, LENGTH = 10, 2000  # samples at once, and characters of each, beside an earlier build

Times = dict[str, float]  # seconds by what took them


def charscope(
    compile_: Compile, optimizer: OptimizerKind, position: PositionKind, shape: Shape, device: torch.device
) -> Model:
    step = TrainingStep(shape, device, compile_, optimizer, position)
    settings = f"{step.settings()}, {position}"
    return Model(lambda *ids: step.take(Batch(*ids)), step.decoder.parameter_count(), settings)


OURS = [
    Contestant(
        f"charscope{name}{', compiled' if how is Compile.on else ''}",
        partial(charscope, how, optimizer, position),
        ours=True,
        compiled=how is Compile.on,
    )
    for name, optimizer, position in (
        ("", OptimizerKind.muon, PositionKind.rotary),
        (" with AdamW", OptimizerKind.adamw, PositionKind.sinusoidal),
    )
    for how in (Compile.off, Compile.on)
]


def answering(training: Model, shape: Shape, device: torch.device) -> Answer:
    """In the process of a contestant: answers a protocol with the median seconds of a step."""
    batches = cycle(random_ids(BATCHES, 2, shape.batch, shape.context).to(device))
    return partial(median_seconds, lambda: training.run(*next(batches)), device)


def compare_peers(shapes: Sequence[Shape], device: torch.device, options: Namespace) -> Report:
    report = Report(f"throughput_{device.type}", "Training speed beside peers", device, options.quick)
    ours = [each for each in OURS if not (options.quick and each.compiled)]
    contestants = installed([*ours, *training_peers(options.nanogpt, report.data)], report.data, options.only)
    turn = ONCE if options.quick else TURN
    for shape in shapes:
        outcomes, failed = compete(answering, contestants, shape, device, turn, 1 + options.rounds)
        report.data["failed"] |= failed
        add_shape(report, shape, outcomes)
    return report


def add_shape(report: Report, shape: Shape, outcomes: Sequence[Outcome]) -> None:
    """One shape's tables. The first round of an outcome does not count."""
    seconds = {each.name: each.rounds[1:] for each in outcomes}
    speed = {name: Spread.of([shape.batch * shape.context / t for t in rounds]) for name, rounds in seconds.items()}
    speeds = [
        {
            "contestant": each.name,
            "runs in": each.settings,
            "parameters": f"{each.parameters:,}",
            "ms/step": 1e3 * Spread.of(seconds[each.name]).median,
            "characters/s": f"{speed[each.name]:,.0f}",
        }
        for each in outcomes
    ]
    peers = [each.name for each in outcomes if not each.ours]
    ratios: list[dict[str, object]] = [
        {"times as fast as": each.name} | {peer: times_as_fast(seconds[each.name], seconds[peer]) for peer in peers}
        for each in outcomes
        if each.ours
    ]
    report.add(f"{shape.name}: {shape}", speeds, ratios if peers else [])
    found = {"shape": shape, "seconds": seconds, "characters_per_second": speed, "ratios": ratios}
    report.data.setdefault("shapes", []).append(found)


def compare_builds(shapes: Sequence[Shape], device: torch.device, options: Namespace) -> Report:
    """Both builds in turn; another one begins in each round, and the first round does not count."""
    baseline = options.baseline.resolve()
    report = Report(f"baseline_{device.type}", "This tree beside an earlier build", device, options.quick)
    report.data |= {"versions": {"baseline": commit(baseline)}, "shapes": []}
    for shape in shapes:
        steps = steps_of(shape.name, device.type, options.quick)
        rounds: dict[Path, list[Times]] = {ROOT: [], baseline: []}
        with TemporaryDirectory() as folder:
            text = random_text(Path(folder, "text.txt"))
            for turn in tqdm(range(1 + options.rounds), desc=shape.name, unit="round", disable=None):
                for side, checkout in enumerate([*rounds][:: 1 if turn % 2 else -1]):
                    run = Path(folder, f"run_{turn}_{side}")
                    length = 20 if options.quick else LENGTH
                    rounds[checkout].append(times_of(checkout, run, text, device.type, shape, steps, length))
        ours, theirs = (times[1:] for times in rounds.values())
        report.add(f"{shape.name}: {shape}, {steps} steps", rows(ours, theirs))
        report.data["shapes"].append({"shape": shape, "ours": ours, "baseline": theirs})
    return report


def times_of(checkout: Path, run: Path, text: Path, device: str, shape: Shape, steps: int, length: int) -> Times:
    """Seconds of one turn of a build. Raises RunFailedError if a command fails."""
    training, summary = train(run, text, device, shape, steps, checkout=checkout)
    sampling = "sample.py", f"checkpoint={run}", f"runtime.device={device}", "seed=0"
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


def main(argv: Sequence[str] | None = None) -> None:
    parser = Options("throughput", __doc__, nanogpt_file="model.py", rounds=ROUNDS, baseline=True, peers=True)
    parser.add_argument("--shape", choices=tuple(SHAPES), nargs="+", help="by default both; in a quick trial small")
    options = parser.read(argv)
    device = torch.device(options.device)
    shapes = shapes_on(options.device, options.shape, options.quick)
    compare = compare_builds if options.baseline else compare_peers
    compare(shapes, device, options).save(options.output)


if __name__ == "__main__":
    main()
