"""Launch a training run: `python train.py --help`."""

import json
import math
import shlex
import shutil
import sys
from contextlib import closing
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig

from conf.command import command
from conf.schema import TrainConfig
from data.config import Unit
from errors import UserError
from files import replacing
from model.config import PositionKind, ScoringKind

if TYPE_CHECKING:
    from data.corpus import Corpus

PROBE_LENGTH = 64  # characters of the text held out whose attention is shown
FINAL_SAMPLE_LENGTH = 400


def compare_runs(folder: Path) -> None:
    """Print the runs of a sweep side by side, and keep the table beside them."""
    from training.comparison import compare, keep, table

    rows = compare(folder)
    keep(rows, folder)
    print(f"\n{table(rows)}\n\nkept as {shown(folder / 'comparison.md')}, with what it comes from as comparison.json")


@command("train", free_text=("data.path",), free_texts=("board.probe",), keeps_runs=True, after_sweep=compare_runs)
def main(config: TrainConfig, directory: Path) -> float:
    """Train as `config` says and keep everything in `directory`. Returns the best validation loss in nats/char."""
    # Imported here, so that help and completion need not wait for torch.
    import torch

    from data.batches import Batches
    from data.corpus import Corpus
    from data.sources import load_text
    from model.choice import Choice
    from model.continuation import continuations
    from model.decoder import Decoder
    from training.allocator import keep_freed_memory
    from training.board import SAMPLE_LINES, Board
    from training.checkpoint import CheckpointFolder, load_checkpoint
    from training.loop import fit
    from training.runtime import choose_runtime, machine

    keep_freed_memory()
    characters = config.training.steps * config.training.batch_size * config.model.context
    flop = 6 * config.model.map_weights() * characters  # forward 2, backward 4 for each weight
    runtime = choose_runtime(config.runtime, flop, one_shape=config.data.unit == Unit.window)
    corpus = Corpus.of(load_text(config.data), config.data, config.model.context)
    vocabulary, seed = corpus.vocabulary, config.seed
    opening = vocabulary.encode(vocabulary.opening).tolist()
    end = opening[0] if config.data.unit == Unit.line else None
    probes = choose_probes(config, corpus)
    settings = chosen_settings(config)

    decoder = Decoder(config.model, len(vocabulary), torch.Generator().manual_seed(seed)).to(runtime.device)
    torch.manual_seed(seed + 1)  # torch's default generators serve dropout and nothing else
    batches = Batches(corpus.training.on(runtime.device), config.training.batch_size, seed)
    print(f"text     {corpus.described}, from {config.data.path or config.data.source}")
    print(f"decoder  {decoder.parameter_count():,} parameters")
    if (config.model.scoring, config.model.position) == (ScoringKind.mean, PositionKind.rotary):
        print("         the mean asks with no queries, so there is nothing to rotate: only the mask tells positions")
    print(f"runs on  {runtime.reason}")
    print(f"folder   {directory}", flush=True)

    with closing(Board(directory, config.board, vocabulary.characters, probes, opening, end)) as board:
        board.begin(json.dumps(asdict(config), indent=2, ensure_ascii=False))
        checkpoints = CheckpointFolder(
            directory / "checkpoints", vocabulary.characters, seed, corpus.sha256, corpus.training_lines
        )
        outcome = fit(decoder, batches, corpus.held_out, config.training, runtime, board, checkpoints)
        results = asdict(outcome)
        board.finish(settings, {name: value for name, value in results.items() if name != "compiled"})
    summary = results | {
        "parameters": decoder.parameter_count(),
        "bits_per_character": outcome.best_validation_loss / math.log(2),
        "settings": settings,
        "seed": seed,
        "corpus_sha256": corpus.sha256,
        "device": str(runtime.device),
        "precision": str(runtime.precision),
    }
    summary |= machine(runtime.device)
    with replacing(directory / "summary.json") as stream:
        stream.write(json.dumps(summary, indent=2).encode() + b"\n")

    best = load_checkpoint(directory / "checkpoints" / "best.pt").decoder()
    # Another seed than sample.py's own, which is to write something new.
    count = 1 if end is None else SAMPLE_LINES
    samples = continuations(
        best, opening, FINAL_SAMPLE_LENGTH, end=end, count=count, choice=Choice(temperature=0.8), seed=seed + 1
    )
    print("", *map(vocabulary.decode, samples), "", sep="\n")
    print(f"best validation loss {outcome.best_validation_loss:.4f} nats/char; {outcome.seconds:.0f} s")
    say_how_to_go_on(directory)
    return outcome.best_validation_loss


def choose_probes(config: TrainConfig, corpus: "Corpus") -> dict[str, list[int]]:
    """The ids of the texts whose attention is shown: one that was held out, and the user's own."""
    from attention_tab.format import largest_text

    context, vocabulary = config.model.context, corpus.vocabulary
    heads = config.model.all_heads()
    probes = {"validation": corpus.held_out.probe(min(PROBE_LENGTH, context)).tolist()}
    for number, text in enumerate(config.board.probe, 1):
        if config.data.unit == Unit.line:
            from data.lines import line_beginning

            ids = line_beginning(text, vocabulary, context, "board.probe")
        elif len(text) > context:
            raise UserError(f"board.probe: expected at most model.context={context} characters, got {len(text)}")
        else:
            ids = vocabulary.encode(text, "board.probe").tolist()
        if len(ids) > (longest := largest_text(heads)):
            raise UserError(f"board.probe: expected at most {longest} characters with {heads} heads, got {len(ids)}")
        probes[f"probe_{number}"] = ids
    return probes


def chosen_settings(config: TrainConfig) -> dict[str, int | float | str]:
    """What the user set on the command line, and the preset: this is how runs differ."""
    hydra = HydraConfig.get()
    named = [override.partition("=")[0].lstrip("+") for override in hydra.overrides.task]
    values = {name: plain(attrgetter(name)(config)) for name in ("seed", *named) if name not in hydra.runtime.choices}
    groups = {name: hydra.runtime.choices[name] for name in ("experiment", *named) if name in hydra.runtime.choices}
    return groups | values


def plain(setting: object) -> int | float | str:
    """What TensorBoard and JSON can hold."""
    if isinstance(setting, list):
        return ", ".join(map(str, setting))
    return setting if isinstance(setting, int | float) else str(setting)


def say_how_to_go_on(directory: Path) -> None:
    runs = Path("runs") if directory.is_relative_to(Path.cwd() / "runs") else directory
    print("look inside: ", shlex.join([typed_as("tensorboard"), "--logdir", str(runs)]))
    print("write more:  ", shlex.join([typed_as("python"), "sample.py", f"checkpoint={shown(directory)}"]))


def shown(path: Path) -> Path:
    """`path` as the user would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def typed_as(program: str) -> str:
    """How to call a program of this Python's environment: by its name alone if the environment is activated."""
    here = Path(sys.executable).parent / program
    return program if shutil.which(program) == str(here) else str(shown(here))


if __name__ == "__main__":
    main()
