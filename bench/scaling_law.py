"""How the loss falls with parameters and with characters trained on: runs of all sizes and lengths, and a law of them.

    python -m bench.scaling_law [--text FILE] [--device cpu|cuda] [--runs FOLDER] [--quick] [--output bench/results]

Each length is a run of its own, as its learning rates fall to zero at its end; a run cut short would tell of worse
decoders than so many characters can make. Rates, batch and context are those of all, not the best for each size.
Parameters are the weights of the maps in the blocks, without embedding and output layer (Kaplan et al. 2020, section
1.3); no size sees a character of the default text twice. Runs that are finished are kept in FOLDER and not run again.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path

import torch
from tqdm import tqdm

from bench.peers import commit
from bench.report import keep
from bench.scaling_law_report import Findings, Run, law_of, markdown, plot, predicted
from bench.stopwatch import LAST_LINES, ROOT, RunFailedError
from files import replacing
from model.config import DecoderConfig
from training.device import machine

CONTEXT, BATCH = 64, 24
SIZES = ((1, 16), (1, 32), (1, 64), (2, 96), (4, 128))  # layers and width: each has about four times the parameters
LENGTHS = (320, 640, 1280, 2560)  # steps
QUICK_SIZES, QUICK_LENGTHS = ((1, 8), (1, 16)), (1, 2, 3)


def take(size: tuple[int, int], steps: int, folder: Path, text: Path | None, device: str, revision: str) -> Run:
    """The run of that size and length, from `folder` if it was made before; one that was cut short goes on."""
    layers, width = size
    kept = folder / "run.json"
    if kept.exists():
        return Run(**json.loads(kept.read_text(encoding="utf-8")))
    shape = DecoderConfig(layers=layers, heads=max(1, width // 32), width=width, context=CONTEXT)
    command = [
        *(sys.executable, str(ROOT / "train.py"), "resume=auto", f"hydra.run.dir={folder.resolve()}"),
        *(f"model.{name}={getattr(shape, name)}" for name in ("layers", "heads", "width", "context")),
        *(f"training.steps={steps}", f"training.batch_size={BATCH}", f"training.evaluate_every={steps}"),
        *(f"runtime.device={device}", "runtime.compile=off"),
        *("board.sample_length=0", f"board.attention_every={steps}", f"board.pictures_every={steps}"),
        *([f"data.path={text.resolve()}"] if text else []),
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise RunFailedError("\n".join((done.stdout + done.stderr).splitlines()[-LAST_LINES:]))
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    run = Run(
        *(
            layers,
            shape.heads,
            width,
            steps,
            shape.block_parameter_count(),
            summary["parameters"],
            summary["characters"],
        ),
        *(summary["final_validation_loss"], summary["seconds"], summary["corpus_sha256"], summary["precision"]),
        revision,
    )
    with replacing(kept) as stream:
        stream.write(json.dumps(asdict(run)).encode())
    return run


def find(options: argparse.Namespace) -> Findings:
    """Make the runs that are not there yet, the cheapest sizes first, and fit."""
    sizes, lengths = (QUICK_SIZES, QUICK_LENGTHS) if options.quick else (SIZES, LENGTHS)
    revision = commit(ROOT)
    runs = [
        take(size, steps, options.runs / f"{size[0]}x{size[1]}_{steps}", options.text, options.device, revision)
        for size, steps in tqdm([*product(sizes, lengths)], unit="run", disable=None)
    ]
    if len({run.corpus_sha256 for run in runs}) > 1:
        raise RunFailedError(f"expected runs on one text, got several in {options.runs}; try another --runs")
    law, largest = law_of(runs), runs[-1]
    smaller = [r for r in runs if r.parameters < largest.parameters and r.characters < largest.characters]
    predictions = [predicted(run, law, [other for other in runs if other is not run]) for run in runs]
    text = options.text.name if options.text else "the source of Python's own library"
    return Findings(
        *(machine(torch.device(options.device)), options.device, text, CONTEXT, BATCH, law, predictions),
        *(predicted(largest, law, smaller), len(smaller), options.quick),
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling_law", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--text", type=Path, metavar="FILE", help="to train on instead of the default text")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--runs", type=Path, default=Path("runs/scaling_law"), metavar="FOLDER", help="keeps runs")
    parser.add_argument("--quick", action="store_true", help="tiny and few runs: to try the command itself")
    parser.add_argument("--output", type=Path, default=Path("bench/results"), metavar="FOLDER")
    options = parser.parse_args(argv)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: expected cpu, got cuda on a machine without it")
    try:
        found = find(options)
    except RunFailedError as error:
        parser.error(str(error))
    keep(options.output, "scaling_law", asdict(found), markdown(found), partial(plot, found))


if __name__ == "__main__":
    main()
