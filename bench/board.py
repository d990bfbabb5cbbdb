"""What share of a run's time goes into TensorBoard: curves, attention maps, samples.

    python -m bench.board [--steps N] [--device cpu|cuda] [--output bench/results]

A run of the default preset on random characters, logged as it is by default, with a board that notes how long it takes.
Evaluations and checkpoints are no logging: the first measure, the second save. `NOT_COUNTED` says what is left out.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from bench.machine import finish
from bench.ours import VOCABULARY_SIZE
from bench.peers import commit
from bench.report import Row, keep, table, where
from bench.stopwatch import ROOT
from board.board import SNAPSHOTS, Board
from cli.compose import register
from conf.schema import CONF, TrainConfig
from data.batches import Batches, Windows
from model.decoder import Decoder
from training.device import choose_runtime, keep_freed_memory, machine
from training.folder import CheckpointFolder
from training.loop import READ_EVERY, fit

CHARACTERS = "".join(chr(ord("0") + number) for number in range(VOCABULARY_SIZE))
LENGTH = 2**20  # of the text
PROBE = 64  # characters

NOT_COUNTED = """\
Not counted: importing TensorBoard, opening and closing its file, what its own thread writes meanwhile, and what a run
writes but once: at step 0 its configuration, the probe and the positional encoding, and at its end the row of the
HParams tab."""


@dataclass(frozen=True)
class Findings:
    """What board_<device>.json holds."""

    machine: dict[str, str | int]
    device: str
    commit: str  # of this checkout, or why there is none
    steps: int
    training_seconds: float  # of the training steps alone, without what the board wrote between them
    board_seconds: dict[str, float]  # by what was written
    share: float  # of the board, beside the training steps
    trial: bool  # of the command itself: not the preset's steps
    not_counted: str = NOT_COUNTED


class TimedBoard(Board):
    """A board that notes how long each of its writings takes."""

    def __init__(self, device: torch.device, *given: Any) -> None:
        super().__init__(*given)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        for name in ("training", "attention", "pictures", "validation"):
            setattr(self, name, self._timed(name, getattr(self, name), device))

    def _timed(self, name: str, write: Callable[..., None], device: torch.device) -> Callable[..., None]:
        @wraps(write)
        def timed(*given: Any) -> None:
            finish(device)
            start = time.perf_counter()
            write(*given)
            self.finish_background()
            finish(device)
            self.seconds[name] += time.perf_counter() - start

        return timed


def preset(device: torch.device, steps: int | None) -> TrainConfig:
    """The default one, with `steps` and one evaluation at their end where they are given."""
    changes = [f"runtime.device={device.type}"]
    if steps:
        changes += [f"training.steps={steps}", f"training.evaluate_every={steps}"]
    register()
    with initialize_config_dir(CONF, version_base="1.3"):
        config = OmegaConf.to_object(compose("train", changes))
    assert isinstance(config, TrainConfig)
    return config


def find(device: torch.device, steps: int | None, folder: Path) -> Findings:
    """Train once in `folder`."""
    keep_freed_memory()
    revision, config = commit(ROOT), preset(device, steps)  # the commit as it was at the start
    context = config.model.context
    ids = np.random.default_rng(0).integers(VOCABULARY_SIZE, size=LENGTH).astype(np.uint8)
    training, validation = Windows(ids[: -LENGTH // 10], context), Windows(ids[-LENGTH // 10 :], context)
    runtime = choose_runtime(config.runtime)
    decoder = Decoder(config.model, VOCABULARY_SIZE, torch.Generator().manual_seed(0)).to(device)

    probes = {"validation": ids[:PROBE].tolist()}
    with closing(TimedBoard(device, folder, config.board, CHARACTERS, probes, [0])) as board:
        board.begin("")
        checkpoints = CheckpointFolder(folder / "checkpoints", CHARACTERS, corpus_sha256="")
        batches = Batches(training.on(device), config.training.batch_size, seed=0)
        outcome = fit(decoder, batches, validation, config.training, runtime, board, checkpoints)
    # The loop's clock of training stands still for attention and validation, but not for the curves between steps.
    seconds = outcome.characters / outcome.characters_per_second - board.seconds["training"]
    return Findings(
        machine=machine(device),
        device=device.type,
        commit=revision,
        steps=outcome.steps,
        training_seconds=seconds,
        board_seconds=dict(board.seconds),
        share=sum(board.seconds.values()) / seconds,
        trial=steps is not None,
    )


def markdown(found: Findings) -> str:
    """What board_<device>.md holds."""
    trial = "**A trial of the command: the steps are not those of the preset, so the figures mean nothing.**\n\n"
    rows: list[Row] = [
        {
            "written": name,
            "seconds": f"{seconds:.3f}",
            "share of training": f"{100 * seconds / found.training_seconds:.2f} %",
        }
        for name, seconds in [*found.board_seconds.items(), ("all", sum(found.board_seconds.values()))]
    ]
    return f"""# What TensorBoard costs a run

{trial if found.trial else ""}{where(found.machine, found.device)}.
Charscope: commit {found.commit}.

The default preset, logged as by default: {found.steps} steps in {found.training_seconds:.1f} s, without any writing, to
which the shares refer. `training`: curves, every {READ_EVERY} steps. `attention`: snapshots for the Attention tab and
the heads' curves, {SNAPSHOTS} at the most and one before training. `pictures`: the maps of all heads for the Images
tab, before training and at each evaluation. `validation`: curves and a sample, at each evaluation.

{table(rows)}

{found.not_counted}
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.board", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, metavar="N", help="to try the command itself; by default the preset's")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--output", type=Path, default=Path("bench/results"), metavar="FOLDER")
    options = parser.parse_args(argv)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: expected cpu, got cuda on a machine without it")
    if options.steps is not None and options.steps < 1:
        parser.error(f"--steps: expected at least 1, got {options.steps}")
    with TemporaryDirectory() as folder:
        found = find(torch.device(options.device), options.steps, Path(folder))
    keep(options.output, f"board_{options.device}", asdict(found), markdown(found))


if __name__ == "__main__":
    main()
