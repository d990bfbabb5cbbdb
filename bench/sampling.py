"""Sampling speed of this project beside its peers, in turn at the same shape, with random weights.

    python -m bench.sampling [--nanogpt FOLDER] [--llama2c FOLDER] [--checkpoint FILE] [--batch 1 10 64] [--rounds N]

--nanogpt, --llama2c: clones of github.com/karpathy/nanoGPT and llama2.c, in this one `run` compiled by `gcc -Ofast
-fopenmp -march=native run.c -lm -o run`; transformers comes with the extra `bench`. --checkpoint: of a small model, or
the folder of its run, to time the start of sample.py.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from bench.commands import run_command
from bench.harness import Options, Protocol, Report, Row, Spread, median_seconds, seconds_of, times_as_fast
from bench.llama2c import LLAMA2C
from bench.peers import PROMPT, TEMPERATURE, sampling_peers
from bench.training_step import Shape, new_decoder, shape_on
from bench.workers import Answer, Contestant, Model, Outcome, compete, installed
from model.config import PositionKind
from model.decoder import Decoder
from sampling.filters import SamplingParams
from sampling.generate import generate
from training.config import Device, Precision, SamplingRuntimeConfig
from training.device import prepare_for_sampling
from training.run_folder import find_checkpoint

ROUNDS, LATE_RUNS, START_UPS = 3, 7, 8  # the first start is not counted
BATCHES = (1, 10, 64)
LENGTH = 1000  # ids of each sequence
LARGE, LARGE_LENGTH = 10, 300  # a batch above it writes less, so that all ends within the hour
EARLY, LATE = 100, 10_000  # ids whose costs are compared
WARM_UP = 16  # ids that are written before anything is timed
FIRST = Protocol(warm_up=1, repeats=5, seconds=0)  # calls for a single id


def charscope(precision: Precision, position: PositionKind, shape: Shape, device: torch.device) -> Model:
    """As sample.py samples."""
    decoder = new_decoder(shape, device, position)
    parameters = decoder.parameter_count()
    decoder, reason = prepare_for_sampling(
        decoder, SamplingRuntimeConfig(device=Device(device.type), precision=precision), shape.batch
    )

    def write(length: int) -> int:
        return sum(map(len, islice(ids(decoder, shape.batch), length)))

    return Model(write, parameters, f"{reason}, {position}")


def ids(decoder: Decoder, count: int = 1) -> Iterator[list[int]]:
    """The next id of each sequence, without end."""
    return generate(decoder, [PROMPT], SamplingParams(temperature=TEMPERATURE), count=count)


OURS = [
    Contestant("charscope", partial(charscope, Precision.auto, PositionKind.rotary), ours=True),
    Contestant("charscope, fp32", partial(charscope, Precision.fp32, PositionKind.rotary), ours=True),
    Contestant("charscope, learned positions", partial(charscope, Precision.auto, PositionKind.learned), ours=True),
]


def answering(sampler: Model, shape: Shape, device: torch.device) -> Answer:
    """In the process of a contestant: warmed up, answers lengths with the seconds to sample each, all anew."""
    if (came := sampler.run(WARM_UP)) != WARM_UP * shape.batch:
        raise ValueError(f"expected {WARM_UP * shape.batch} ids, got {came}")

    def seconds(length: int) -> float:
        return sampler.seconds(length) if sampler.seconds else seconds_of(partial(sampler.run, length), device)

    def answer(lengths: Sequence[int]) -> list[float]:
        return [median_seconds(lambda: sampler.run(1), device, FIRST), *map(seconds, lengths)]

    return answer


def add_batch(report: Report, batch: int, lengths: Sequence[int], outcomes: Sequence[Outcome]) -> None:
    """The tables of one batch size. `lengths`: ids of each sequence, but for the first, which all write as well."""
    columns = dict(enumerate(("to the first", *(f"{length:,} ids" for length in lengths))))
    seconds = {each.name: {index: [turn[index] for turn in each.rounds] for index in columns} for each in outcomes}
    rows, ratios = list[Row](), list[Row]()
    for each in outcomes:
        times = seconds[each.name]
        speeds = {
            f"characters/s, {columns[index]}": f"{Spread.of([batch * length / took for took in times[index]]):,.0f}"
            for index, length in enumerate(lengths, 1)
        }
        size: Row = {"contestant": each.name, "runs in": each.settings, "parameters": f"{each.parameters:,}"}
        rows.append({**size, "ms to the first": Spread.of(times[0]) * 1e3, **speeds})
        for peer in (other.name for other in outcomes if each.ours and not other.ours):
            paired = {title: times_as_fast(times[index], seconds[peer][index]) for index, title in columns.items()}
            ratios.append({"times as fast as": f"{each.name} / {peer}", **paired})
    report.add(f"Batch {batch}", rows, ratios)
    report.data.setdefault("batches", {})[batch] = {"lengths": lengths, "seconds": seconds, "ratios": ratios}


def late_beside_early(decoder: Decoder, early: int, late: int, runs: int) -> list[tuple[float, float]]:
    """Seconds of an id in stretches around two ids of one sequence, in each run."""
    device, context = decoder.embedding.weight.device, decoder.config.context
    period = context - context // 2 + 1  # from one reading again to the next
    consume(islice(ids(decoder), WARM_UP))
    found = []
    for _ in range(runs):
        sequence, means, done = ids(decoder), [], 0
        for middle in (early, late):
            first = middle - period // 2
            consume(islice(sequence, first - done))
            means.append(seconds_of(partial(consume, islice(sequence, period)), device) / period)
            done = first + period
        found.append((means[0], means[1]))
    return found


def consume(iterator: Iterator[object]) -> None:
    deque(iterator, maxlen=0)


def add_alone(report: Report, device: torch.device, checkpoint: Path | None, quick: bool) -> None:
    """Measurements of this project alone."""
    early, late, runs = (10, 40, 1) if quick else (EARLY, LATE, LATE_RUNS)
    shape = replace(shape_on(device.type, "baby_gpt", quick), batch=1)
    config = SamplingRuntimeConfig(device=Device(device.type))
    pairs = late_beside_early(prepare_for_sampling(new_decoder(shape, device), config, 1)[0], early, late, runs)
    rows: list[Row] = [
        {"quantity": f"ms of the {early:,}th id", "value": f"{Spread.of([pair[0] for pair in pairs]) * 1e3:.3f}"},
        {"quantity": f"ms of the {late:,}th id", "value": f"{Spread.of([pair[1] for pair in pairs]) * 1e3:.3f}"},
        {"quantity": "late / early", "value": Spread.of([pair[1] / pair[0] for pair in pairs])},
    ]
    report.data["late"] = pairs
    if checkpoint:
        file = find_checkpoint(str(checkpoint)).resolve()
        commands = ("-c", "import torch; print(flush=True)"), ("sample.py", f"checkpoint={file}", "length=1")
        turns = [[run_command(*command).first_byte for command in commands] for _ in range(2 if quick else START_UPS)]
        imports, samples = zip(*turns[1:], strict=True)  # seconds to the first byte
        rows += [
            {"quantity": "s, `import torch`", "value": Spread.of(imports)},
            {"quantity": "s, the first character of `sample.py`", "value": Spread.of(samples)},
            {"quantity": "`sample.py` / `import torch`", "value": times_as_fast(imports, samples)},
        ]
        report.data["start_up"] = {"import_torch": imports, "sample": samples}
    else:
        report.data["left_out"]["start-up"] = "no --checkpoint says what to sample from"
    report.add("charscope alone", rows)


def main(argv: Sequence[str] | None = None) -> None:
    parser = Options("sampling", __doc__, nanogpt_file="model.py", rounds=ROUNDS, peers=True)
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="of a small model")
    parser.add_argument("--batch", type=int, nargs="+", metavar="N", help="sequences at once, by default 1 10 64")
    parser.add_argument("--llama2c", type=Path, metavar="FOLDER", help="a clone of llama2.c with `run` compiled")
    options = parser.read(argv)
    if options.llama2c and not (options.llama2c / "run").is_file():
        parser.error(f"--llama2c: expected a clone of llama2.c with `run` compiled, got {options.llama2c} without run")
    batches = dict.fromkeys(options.batch or ((1, 2) if options.quick else BATCHES))
    if min(batches) < 1:
        parser.error(f"--batch: expected at least 1, got {min(batches)}")
    device, quick = torch.device(options.device), options.quick
    report = Report(f"sampling_{device.type}", "Sampling speed beside peers", device, quick)
    peers = sampling_peers(options.nanogpt, options.llama2c, report.data)
    contestants = installed([*OURS, *peers], report.data, options.only)
    for batch in batches:
        shape = replace(shape_on(options.device, "baby_gpt", quick), batch=batch)
        lengths = shape.context - 1, 20 if quick else LARGE_LENGTH if batch > LARGE else LENGTH
        present = [each for each in contestants if batch == 1 or each.name != LLAMA2C]
        if batch > 1 and options.llama2c:
            report.data["left_out"][f"{LLAMA2C} at batch {batch}"] = "it writes one sequence"
        outcomes, failed = compete(answering, present, shape, device, lengths, options.rounds)
        report.data["failed"] |= failed
        add_batch(report, batch, lengths, outcomes)
        report.write(options.output)
    if not options.only:
        add_alone(report, device, options.checkpoint, quick)
    report.save(options.output)


if __name__ == "__main__":
    main()
