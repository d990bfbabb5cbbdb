"""Training speed of this project beside its peers, or beside an earlier build of it, in turn at equal shapes.

    python -m bench.throughput [--quick] [--device cpu|cuda] [--nanogpt FOLDER] [--shape small baby_gpt]
                               [--rounds N] [--baseline FOLDER] [--output bench/results]

--nanogpt: a clone of github.com/karpathy/nanoGPT; the other peers come with the extra `bench`. --baseline: a checkout
of an earlier commit of this project, which is then compared instead of the peers (`bench.baseline`).
"""

from collections.abc import Sequence
from functools import partial
from itertools import cycle
from pathlib import Path

import torch

from bench import baseline
from bench.harness import ONCE, Options, Protocol, Report, Spread, median_seconds
from bench.harness import times_as_fast as paired
from bench.peers import Model, training_peers
from bench.training_step import SHAPES, Shape, TrainingStep, random_ids, shape_on
from bench.workers import Answer, Contestant, Outcome, compete, installed
from data.batches import Batch
from model.config import PositionKind
from training.config import Compile, OptimizerKind

ROUNDS = 7
BATCHES = 8  # made beforehand, used in turn
TURN = Protocol(warm_up=0, repeats=3, seconds=2.0)


def charscope(
    compile_: Compile, optimizer: OptimizerKind, position: PositionKind, shape: Shape, device: torch.device
) -> Model:
    step = TrainingStep.of(shape, device, compile_, optimizer, position)
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


def get_ready(contestant: Contestant, shape: Shape, device: torch.device) -> tuple[Outcome, Answer]:
    """In the process of a contestant: answers a protocol with the median seconds of a step."""
    training: Model = contestant.prepare(shape, device)
    batches = cycle(random_ids(BATCHES, 2, shape.batch, shape.context).to(device))

    def answer(turn: Protocol) -> float:
        return median_seconds(lambda: training.run(*next(batches)), device, turn)

    return Outcome(contestant.name, contestant.ours, training.parameters, training.settings), answer


def add_shape(report: Report, shape: Shape, outcomes: Sequence[Outcome]) -> None:
    """One shape's tables. The first round of an outcome does not count."""
    seconds = {outcome.name: outcome.rounds[1:] for outcome in outcomes}
    speed = {
        name: Spread.of([shape.batch * shape.context / each for each in rounds]) for name, rounds in seconds.items()
    }
    peers = [outcome.name for outcome in outcomes if not outcome.ours]
    speeds = [
        {
            "contestant": outcome.name,
            "runs in": outcome.settings,
            "parameters": f"{outcome.parameters:,}",
            "ms/step": 1e3 * Spread.of(seconds[outcome.name]).median,
            "characters/s": f"{speed[outcome.name]:,.0f}",
        }
        for outcome in outcomes
    ]
    ratios: list[dict[str, object]] = [
        {"times as fast as": each.name} | {peer: paired(seconds[each.name], seconds[peer]) for peer in peers}
        for each in outcomes
        if each.ours
    ]
    report.add(f"{shape.name}: {shape}", speeds, ratios if peers else [])
    report.data.setdefault("shapes", []).append(
        {"shape": shape, "seconds": seconds, "characters_per_second": speed, "ratios": ratios}
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = Options("throughput", __doc__, nanogpt_file="model.py", rounds=ROUNDS)
    parser.add_argument("--shape", choices=tuple(SHAPES), nargs="+", default=tuple(SHAPES))
    parser.add_argument(
        "--baseline", type=Path, metavar="FOLDER", help="a checkout of an earlier commit, instead of peers"
    )
    options = parser.read(argv)
    device = torch.device(options.device)
    shapes = [shape_on(options.device, name, options.quick) for name in dict.fromkeys(options.shape)]
    if options.baseline:
        if not (options.baseline / "train.py").is_file():
            parser.error(f"--baseline: expected a checkout of Charscope, got {options.baseline}, which has no train.py")
        baseline.compare(options.baseline.resolve(), shapes, device, options)
        return
    report = Report(f"throughput_{device.type}", "Training speed beside peers", device, options.quick)
    ours = [each for each in OURS if not (options.quick and each.compiled)]
    contestants = installed([*ours, *training_peers(options.nanogpt, report.data)], report.data)
    turn = ONCE if options.quick else TURN
    for shape in shapes:
        outcomes, failed = compete(get_ready, contestants, shape, device, turn, 1 + options.rounds)
        report.data["failed"] |= failed
        add_shape(report, shape, outcomes)
    report.save(options.output)


if __name__ == "__main__":
    main()
