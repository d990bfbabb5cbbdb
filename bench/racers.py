"""The runs of a race: each started in a process of its own, its losses and their times read afterwards."""

import io
import math
import pickle
import runpy
import shutil
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from bench.commands import RunFailedError, run_command
from bench.harness import ROOT
from data.batches import Windows
from data.corpus import Corpus

NANOGPT, SPRINT, PRESET = "nanoGPT", "Charscope sprint", "Charscope preset"

# Settings of ours beside text, seed, device and folder. The first of a device is the one that races.
OUR_SETTINGS = {
    "cpu": {
        SPRINT: "experiment=shakespeare_cpu training.steps=220 training.batch_size=24 training.evaluate_every=220",
        PRESET: "experiment=shakespeare_cpu",
    },
    "cuda": {PRESET: "experiment=shakespeare_gpu"},
}
OUR_QUICK_SETTINGS = """
    model.layers=1 model.heads=1 model.width=16 model.feed_forward=16 model.context=16
    training.steps=4 training.batch_size=2 training.evaluate_every=2
"""
# nanoGPT's beside its configuration: for the CPU what its README says for laptops, and to save at every evaluation.
CONFIG = "config/train_shakespeare_char.py"
SEED = "torch.manual_seed(1337 + seed_offset)"  # in its train.py, which has no setting for it
THEIR_SETTINGS = {
    "cpu": """
        --device=cpu --compile=False --eval_iters=20 --log_interval=1 --block_size=64 --batch_size=12 --n_layer=4
        --n_head=4 --n_embd=128 --max_iters=2000 --lr_decay_iters=2000 --dropout=0.0 --always_save_checkpoint=True
    """,
    "cuda": "--always_save_checkpoint=True",
}
THEIR_QUICK_SETTINGS = """
    --n_layer=1 --n_head=1 --n_embd=16 --block_size=16 --batch_size=2 --eval_iters=1 --max_iters=4 --lr_decay_iters=4
    --warmup_iters=2 --eval_interval=2
"""


@dataclass(frozen=True)
class Evaluation:
    step: int
    seconds: float  # from the first step
    loss: float  # nats/char over the whole validation split


@dataclass(frozen=True)
class Run:
    """One process, from its start to its end."""

    name: str
    seed: int
    start_up: float  # seconds from process start to the first step
    seconds: float  # from the first step to the end
    evaluations: list[Evaluation]
    peak_memory: int  # of the process, as `Command` has it

    def reaches(self, target: float) -> bool:
        return any(each.loss <= target for each in self.evaluations)

    def counted_seconds(self, target: float) -> float:
        """From the first step to the first loss at or under `target`.

        Infinity if there is none, but for nanoGPT its whole run, which is in its favour.
        """
        never = self.seconds if self.name == NANOGPT else math.inf
        return next((each.seconds for each in self.evaluations if each.loss <= target), never)

    def loss_within(self, seconds: float) -> float:
        """The best loss no later than `seconds` after the first step; infinity if there is none."""
        return min((each.loss for each in self.evaluations if each.seconds <= seconds), default=math.inf)


def run_charscope(
    name: str, seed: int, folder: Path, *settings: str, checkout: Path = ROOT, seconds: float | None = None
) -> Run:
    """Losses and all times but the start are those of the event file. The first step follows what step 0 logs.

    A run that lasts longer than `seconds` is stopped.
    """
    command, started = ("train.py", *settings, f"seed={seed}", f"hydra.run.dir={folder / 'run'}"), time.time()
    took = run_command(*command, checkout=checkout, seconds=seconds)
    events = scalars(folder / "run")
    first = max((event.wall_time for found in events.values() for event in found if event.step == 0), default=started)
    found = [Evaluation(e.step, e.wall_time - first, e.value) for e in events.get("loss/validation", [])]
    return Run(name, seed, first - started, started + took.ended - first, found, took.peak_memory)


def scalars(run: Path) -> dict[str, list[Any]]:
    """Events of the curves in a run's folder, by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    return {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}


@dataclass(frozen=True)
class Race:
    """Settings that all runs have in common."""

    nanogpt: Path
    text: Path
    corpus: Corpus
    device: str
    quick: bool
    seconds: float | None = None  # after which a run of nanoGPT is stopped

    def run(self, name: str, seed: int) -> Run:
        with TemporaryDirectory() as folder:
            return (self._run_theirs if name == NANOGPT else self._run_ours)(name, seed, Path(folder))

    def _run_ours(self, name: str, seed: int, folder: Path) -> Run:
        settings = (OUR_SETTINGS[self.device][name] + OUR_QUICK_SETTINGS * self.quick).split()
        return run_charscope(name, seed, folder, *settings, f"data.path={self.text}", f"runtime.device={self.device}")

    def _run_theirs(self, name: str, seed: int, folder: Path) -> Run:
        """It reads its configuration and data below its working directory, and writes there."""
        for file in ("configurator.py", CONFIG):
            (folder / file).parent.mkdir(exist_ok=True)
            shutil.copyfile(self.nanogpt / file, folder / file)
        source = (self.nanogpt / "train.py").read_text(encoding="utf-8")
        if SEED not in source:
            raise RunFailedError(f"expected a train.py of nanoGPT with {SEED}, got one without")
        (folder / "train.py").write_text(source.replace(SEED, f"torch.manual_seed({1337 + seed})"), encoding="utf-8")
        write_data(self.corpus, folder / "data" / "shakespeare_char")
        settings = (THEIR_SETTINGS[self.device] + THEIR_QUICK_SETTINGS * self.quick).split()
        command, environment = ("train.py", CONFIG, *settings), {"PYTHONUNBUFFERED": "1"}
        watch, started = Watch(folder), time.time()
        given = partial(run_command, checkout=self.nanogpt, folder=folder, watch=watch, environment=environment)
        took = given(*command, seconds=self.seconds)
        if not watch.copies and not took.stopped:
            raise RunFailedError(f"expected checkpoints of nanoGPT, got none: {took.output[-1000:]!r}")
        first = watch.first_step or started + took.ended
        found = [Evaluation(step, moment - first, self._loss_of(file)) for step, moment, file in watch.copies]
        return Run(name, seed, first - started, started + took.ended - first, found, took.peak_memory)

    def _loss_of(self, checkpoint: Path) -> float:
        """Of a checkpoint of nanoGPT, by the protocol of this project's evaluation."""
        content = torch.load(checkpoint, map_location=self.device, weights_only=True)
        source = runpy.run_path(str(self.nanogpt / "model.py"))
        with redirect_stdout(io.StringIO()):  # it prints its size
            model = source["GPT"](source["GPTConfig"](**content["model_args"])).to(self.device).eval()
        # torch.compile puts a prefix before the names.
        model.load_state_dict({name.removeprefix("_orig_mod."): value for name, value in content["model"].items()})
        total, characters = 0.0, 0
        with torch.no_grad():
            assert self.corpus.validation is not None
            for batch in Windows(self.corpus.validation.ids, content["model_args"]["block_size"]).sequential(256):
                batch = batch.to(torch.device(self.device))
                logits, _ = model(batch.inputs, batch.targets)  # without targets it computes the last position alone
                total += F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="sum").item()
                characters += batch.characters
        return total / characters


class Watch:
    """Follows nanoGPT's output, notes when things happen, and copies each checkpoint once it is whole."""

    def __init__(self, folder: Path) -> None:
        self.first_step, self.copies = 0.0, list[tuple[int, float, Path]]()  # step, when its saving began, copy
        self._folder, self._step, self._saving, self._rest = folder, 0, 0.0, b""

    def __call__(self, output: bytes) -> None:
        *lines, self._rest = (self._rest + output).split(b"\n")
        for line in lines:
            if line.startswith(b"step "):  # an estimate of its loss is made; the first comes before the first step
                self._step = int(line[5 : line.index(b":")])
                self.first_step = self.first_step or time.time()
            elif line.startswith(b"saving checkpoint"):
                self._saving = time.time()
            elif line.startswith(b"iter ") and self._saving:
                copy = self._folder / f"{self._step}.pt"
                (checkpoint,) = self._folder.glob("out*/ckpt.pt")
                shutil.copyfile(checkpoint, copy)
                self.copies.append((self._step, self._saving, copy))
                self._saving = 0.0


def write_data(corpus: Corpus, folder: Path) -> None:
    """The text as nanoGPT reads it, split where ours is."""
    folder.mkdir(parents=True)
    assert corpus.validation is not None
    for name, ids in ("train", corpus.training.ids), ("val", corpus.validation.ids[1:]):  # [0] is a training character
        ids.astype(np.uint16).tofile(folder / f"{name}.bin")
    characters = corpus.vocabulary.characters
    meta = {"vocab_size": len(characters), "itos": dict(enumerate(characters))}
    meta["stoi"] = {character: index for index, character in enumerate(characters)}
    (folder / "meta.pkl").write_bytes(pickle.dumps(meta))
