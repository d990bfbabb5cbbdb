"""Everything that a GPU is to show, most valuable first, in 8.5 minutes: each part is stopped in time.

    python -m bench.gpu --text FILE [--nanogpt FOLDER] [--recipes] [--quick] [--output FOLDER]

--text: tiny Shakespeare. --nanogpt: a clone of github.com/karpathy/nanoGPT. --recipes: other settings of
`shakespeare_gpu` as well, as far as the time allows. --quick: a rehearsal at tiny sizes, on a CPU if there is no GPU.
Needs no network: docs/scaling.md says how to install without one.
"""

import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from bench.commands import random_text, run_command
from bench.harness import Options, Report, Row
from bench.race import TARGETS
from bench.racers import CONFIG, NANOGPT, OUR_QUICK_SETTINGS, Race, Run, run_charscope, scalars
from data.config import DataConfig, Source
from data.corpus import Corpus

LIMIT, LEAST = 510.0, 15.0  # seconds for all; of which a part is not begun with fewer
PRESET, TARGET = "shakespeare_gpu", TARGETS["cuda"]
RECIPES = {
    "no token dropout": "model.token_dropout=0",
    "twice the steps": "training.steps=2000",
    "weight decay 0.1": "training.weight_decay=0.1",
    "half the steps": "training.steps=500",
    "dropout 0.3": "model.dropout=0.3",
    "attention dropout": "model.attention_dropout=0.2",
    "GELU, no token shift": "model.activation=gelu model.token_shift=false",
}
ENWIK8 = "experiment=enwik8_gpu training.steps=300 training.evaluate_every=300 board.sample_length=0"
ENWIK8_QUICK = f"{OUR_QUICK_SETTINGS} training.test_stride=8"
WITH_PEAK = """
import atexit, runpy, torch
atexit.register(lambda: print(f"\\npeak {torch.cuda.max_memory_allocated()}"))
runpy.run_path("train.py", run_name="__main__")
"""


@dataclass(frozen=True)
class Part:
    """`run` gets the seconds it may take and returns a table."""

    name: str
    seconds: float
    run: Callable[[float], Sequence[Row]]


def parts(options: Namespace, folder: Path) -> list[Part]:
    """All of them, in order; `folder` is for what is not kept."""
    device, text, quick = options.device, options.text.resolve(), options.quick

    def tests(seconds: float) -> list[Row]:
        took = run_command("-m", "pytest", "-m", "cuda", "tests", "--continue-on-collection-errors", seconds=seconds)
        return [{"tests": took.output.decode(errors="replace").strip().splitlines()[-1], "seconds": took.ended}]

    def preset(name: str, seed: int, *settings: str) -> Part:
        own = [f"experiment={PRESET}", f"data.path={text}", f"runtime.device={device}", *settings]
        own += (OUR_QUICK_SETTINGS * quick).split()

        def run(seconds: float) -> list[Row]:
            with TemporaryDirectory(dir=folder) as runs:
                return [_row(run_charscope(name, seed, Path(runs), *own, seconds=seconds))]

        return Part(name, 45, run)

    def nanogpt(seconds: float) -> list[Row]:
        corpus = Corpus.load(DataConfig(source=Source.tiny_shakespeare, path=str(text)), context=1)
        return [_row(Race(options.nanogpt, text, corpus, device, quick, seconds).run(NANOGPT, 0))]

    def bench(module: str, *arguments: str) -> Callable[[float], list[Row]]:
        command = ["-m", f"bench.{module}", "--device", device, "--output", str(options.output.resolve()), *arguments]
        command += [f"--nanogpt={options.nanogpt}"] if options.nanogpt and module != "board" else []
        link = f"[{module}_{device}.md]({module}_{device}.md)"

        def run(seconds: float) -> list[Row]:
            took = run_command(*command, *["--quick"] * quick, seconds=seconds)
            return [{"result": link + " up to where it was stopped" * took.stopped, "seconds": took.ended}]

        return run

    def enwik8(seconds: float) -> list[Row]:
        settings = [*(ENWIK8 + f" {ENWIK8_QUICK}" * quick).split(), f"runtime.device={device}"]
        settings += [f"data.path={random_text(folder / 'text.txt', 2**16 if quick else 2**22)}"]
        took = run_command("-c", WITH_PEAK, *settings, f"hydra.run.dir={folder / 'enwik8'}", seconds=seconds)
        peak = "not known" if took.stopped else int(took.output.rsplit(b"peak ", 1)[-1]) / 2**30
        speed = max(each.value for each in scalars(folder / "enwik8").get("speed/characters_per_second", []))
        return [{"characters/s": f"{speed:,.0f}", "peak, GiB": peak, "seconds": took.ended}]

    found = [Part("tests", 60, tests)]
    found += [preset(f"{PRESET}, seed {seed}", seed) for seed in range(1 if quick else 3)]
    if options.nanogpt:
        found.append(Part(NANOGPT, 80, nanogpt))
    ours = "charscope" if quick else "charscope, compiled"  # compiling takes long
    steps = bench("throughput", "--shape", "baby_gpt", "--rounds", "3", "--only", ours, NANOGPT)
    peers = (NANOGPT,) if quick else (NANOGPT, "transformers")
    samples = bench("sampling", "--batch", "1", "10", "--rounds", "1", "--only", "charscope", *peers)
    found += [Part("training steps", 75, steps), Part("sampling", 60, samples)]
    found += [Part("snapshots", 45, bench("board", "--no-browser")), Part("enwik8", 60, enwik8)]
    if options.recipes:
        found += [preset(name, 0, *settings.split()) for name, settings in RECIPES.items()]
    return found


def _row(run: Run) -> Row:
    """Losses over the whole validation split, and seconds from the first step."""
    losses = [each.loss for each in run.evaluations]
    reached = run.counted_seconds(TARGET) if run.reaches(TARGET) else None
    return {
        "run": run.name,
        "steps": run.evaluations[-1].step if losses else 0,
        "best loss": f"{min(losses):.4f}" if losses else "none yet",
        "final loss": f"{losses[-1]:.4f}" if losses else "none yet",
        f"s to {TARGET}": "not reached" if reached is None else reached,
        "s to the first step": run.start_up,
        "s": run.seconds,
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = Options("gpu", __doc__, nanogpt_file=CONFIG)
    parser.set_defaults(device="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--text", type=Path, required=True, metavar="FILE", help="tiny Shakespeare")
    parser.add_argument("--recipes", action="store_true", help=f"also other settings of {PRESET}, one seed each")
    options = parser.read(argv)
    if options.device == "cpu" and not options.quick:
        parser.error("expected a CUDA GPU, found none; to rehearse on a CPU: --quick")
    if not options.text.is_file():
        parser.error(f"--text: expected a file, got {options.text}")
    report = Report(f"gpu_{options.device}", "What a GPU shows", torch.device(options.device), options.quick)
    report.data["parts"] = {}
    times = 10 if options.quick else 1  # a rehearsal may have a slow machine
    deadline = time.monotonic() + times * LIMIT
    with TemporaryDirectory() as folder:
        for part in parts(options, Path(folder)):
            left = min(times * part.seconds, deadline - time.monotonic())
            if left < LEAST:
                report.data["left_out"][part.name] = "no time was left"
                continue
            try:
                report.data["parts"][part.name] = found = part.run(left)
                report.add(part.name, found)
            except Exception as error:  # a part may fail in any way, the others go on
                report.data["failed"][part.name] = f"{type(error).__name__}: {error}"
            report.write(options.output)
    report.save(options.output)


if __name__ == "__main__":
    main()
