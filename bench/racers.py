"""Who races: how each is started in a process of its own, and how its losses and their times are read afterwards."""

import io
import math
import pickle
import runpy
import shlex
import shutil
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.nn import functional as F

from bench.stopwatch import ROOT, RunFailedError, timed
from data.batches import Windows
from data.corpus import Corpus

NANOGPT = "nanoGPT"
SPRINT, PRESET = "Charscope sprint", "Charscope preset"

# What each of ours is told beside text, seed, device and folder. The first of a device is the one that races.
OUR_SETTINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "cpu": {
        SPRINT: (
            *("experiment=shakespeare_cpu", "training.steps=220"),
            *("training.batch_size=24", "training.evaluate_every=220"),
        ),
        PRESET: ("experiment=shakespeare_cpu",),
    },
    "cuda": {PRESET: ("experiment=shakespeare_gpu",)},
}
OUR_QUICK_SETTINGS = (
    *("model.layers=1", "model.heads=1", "model.width=16", "model.feed_forward=16", "model.context=16"),
    *("training.steps=4", "training.batch_size=2", "training.evaluate_every=2"),
)

# What nanoGPT is told beside its configuration: for the CPU what its README says for laptops, and to save every time.
CONFIG = "config/train_shakespeare_char.py"
THEIR_SETTINGS: dict[str, tuple[str, ...]] = {
    "cpu": (
        *("--device=cpu", "--compile=False", "--eval_iters=20", "--log_interval=1", "--block_size=64"),
        *("--batch_size=12", "--n_layer=4", "--n_head=4", "--n_embd=128", "--max_iters=2000"),
        *("--lr_decay_iters=2000", "--dropout=0.0", "--always_save_checkpoint=True"),
    ),
    "cuda": ("--always_save_checkpoint=True",),
}
THEIR_QUICK_SETTINGS = (
    *("--n_layer=1", "--n_head=1", "--n_embd=16", "--block_size=16", "--batch_size=2", "--eval_iters=1"),
    *("--max_iters=4", "--lr_decay_iters=4", "--warmup_iters=2", "--eval_interval=2"),
)


@dataclass(frozen=True)
class Evaluation:
    step: int
    seconds: float  # from the first step
    loss: float  # nats/char over the whole validation split


@dataclass(frozen=True)
class Run:
    """One process, from its start to its end."""

    contestant: str
    seed: int
    command: str
    start_up: float  # seconds from process start to the first step
    seconds: float  # from the first step to the end
    evaluations: list[Evaluation]

    def seconds_to(self, target: float) -> float | None:
        """From the first step to the first loss at or under `target`, if there is one."""
        return next((seen.seconds for seen in self.evaluations if seen.loss <= target), None)

    def counted_seconds(self, target: float) -> float:
        """As `seconds_to`. Who never arrives takes for ever, but nanoGPT no more than the whole run: in its favour."""
        seconds = self.seconds_to(target)
        if seconds is not None:
            return seconds
        return self.seconds if self.contestant == NANOGPT else math.inf

    def loss_within(self, seconds: float) -> float | None:
        """The best loss no later than `seconds` after the first step."""
        return min((seen.loss for seen in self.evaluations if seen.seconds <= seconds), default=None)


@dataclass(frozen=True)
class Race:
    """What all runs share."""

    nanogpt: Path
    text: Path
    corpus: Corpus
    device: str
    quick: bool

    def contestants(self) -> list[str]:
        """In the order in which they run: nanoGPT right after the one that it races with."""
        first, *others = OUR_SETTINGS[self.device]
        return [first, NANOGPT, *others]

    def run(self, contestant: str, seed: int) -> Run:
        with TemporaryDirectory() as folder:
            run = self._run_theirs if contestant == NANOGPT else self._run_ours
            return run(contestant, seed, Path(folder))

    def _run_ours(self, contestant: str, seed: int, folder: Path) -> Run:
        """Its losses and their times are those of its event file."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        command = [
            str(ROOT / "train.py"),
            *OUR_SETTINGS[self.device][contestant],
            *(OUR_QUICK_SETTINGS if self.quick else ()),
        ]
        command += [f"data.path={self.text}", f"seed={seed}", f"runtime.device={self.device}", "hydra.run.dir=run"]
        timing = timed(command, folder)
        events = EventAccumulator(str(folder / "run"), size_guidance={"scalars": 0}).Reload()
        first = timing.first_step
        seen = [Evaluation(e.step, e.wall_time - first, e.value) for e in events.Scalars("loss/validation")]
        return Run(contestant, seed, self._shown(command), first - timing.started, timing.ended - first, seen)

    def _run_theirs(self, contestant: str, seed: int, folder: Path) -> Run:
        """It reads its configuration and data below its working directory, and writes there."""
        for file in ("configurator.py", CONFIG):
            (folder / file).parent.mkdir(exist_ok=True)
            shutil.copyfile(self.nanogpt / file, folder / file)
        write_data(self.corpus, folder / "data" / "shakespeare_char")
        command = [*("--seed-offset", str(seed), "--keep", "kept"), str(self.nanogpt / "train.py"), CONFIG]
        command += [*THEIR_SETTINGS[self.device], *(THEIR_QUICK_SETTINGS if self.quick else ())]
        timing = timed(command, folder)
        if not timing.kept:
            raise RunFailedError(f"expected checkpoints of nanoGPT, got none; command: {self._shown(command)}")
        first, copied, seen = timing.first_step, 0.0, []
        for kept in timing.kept:
            loss = self._loss_of(folder / "kept" / kept.file)
            seen.append(Evaluation(kept.step, kept.moment - first - copied, loss))
            copied += kept.copy_seconds
        seconds = timing.ended - first - copied
        return Run(contestant, seed, self._shown(command), first - timing.started, seconds, seen)

    def _shown(self, command: Sequence[str]) -> str:
        """As it would be typed without the stopwatch's report, with words for folders of this machine."""
        line = shlex.join(["python", "-m", "bench.stopwatch", "REPORT", *command])
        for path, word in (self.text, "TEXT"), (self.nanogpt, "NANOGPT"), (ROOT, "CHARSCOPE"):
            line = line.replace(str(path), word)
        return line

    def _loss_of(self, checkpoint: Path) -> float:
        """Of a checkpoint of nanoGPT, by the protocol of `training.loop.evaluate`."""
        content = torch.load(checkpoint, map_location=self.device, weights_only=True)
        theirs = runpy.run_path(str(self.nanogpt / "model.py"))
        with redirect_stdout(io.StringIO()):  # it says its size
            model = theirs["GPT"](theirs["GPTConfig"](**content["model_args"])).to(self.device).eval()
        # torch.compile puts a prefix before the names.
        model.load_state_dict({name.removeprefix("_orig_mod."): value for name, value in content["model"].items()})
        validation = Windows(self.corpus.validation.ids, content["model_args"]["block_size"])
        return whole_split_loss(model, validation, torch.device(self.device))


def whole_split_loss(model: torch.nn.Module, validation: Windows, device: torch.device) -> float:
    """Mean loss in nats/char of a model that, called with inputs and targets, gives logits and something else."""
    total, characters = 0.0, 0
    with torch.no_grad():
        for batch in validation.sequential(batch_size=256):
            inputs, targets = batch.inputs.to(device), batch.targets.to(device)
            logits, _ = model(inputs, targets)
            total += F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()
            characters += batch.characters
    return total / characters


def write_data(corpus: Corpus, folder: Path) -> None:
    """The text as nanoGPT reads it, split where ours is."""
    folder.mkdir(parents=True)
    for name, ids in ("train", corpus.training.ids), ("val", corpus.validation.ids[1:]):  # [0] is a training character
        ids.astype(np.uint16).tofile(folder / f"{name}.bin")
    characters = corpus.vocabulary.characters
    meta = {"vocab_size": len(characters), "itos": dict(enumerate(characters))}
    meta["stoi"] = {character: place for place, character in enumerate(characters)}
    (folder / "meta.pkl").write_bytes(pickle.dumps(meta))
