"""Launch a training run: `python train.py --help`."""

import json
import math
import shlex
import shutil
import sys
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig

from cli.command import command
from cli.record import Record
from cli.resume import AUTO, has_run, init_from_config, merge_for_resume
from conf.schema import TrainConfig
from data.config import Unit
from errors import UserError
from files import replacing
from model.config import PositionKind, ScoringKind

if TYPE_CHECKING:
    from data.corpus import Corpus
    from training.checkpoint import Checkpoint

PROBE_LENGTH = 64  # characters of the text held out whose attention is shown


def compare_runs(folder: Path) -> None:
    """Print the runs of a sweep side by side, if any finished, and keep the table beside them."""
    from training.comparison import compare, keep, table

    rows = compare(folder)
    if not rows:
        return
    keep(rows, folder)
    print(f"\n{table(rows)}\n\nkept as {shown(folder / 'comparison.md')}, with what it comes from as comparison.json")


@dataclass(frozen=True)
class Task:
    """All that a process needs to know to take part in a run."""

    record: Record
    directory: Path
    last: "Checkpoint | None"  # which the run goes on from
    start: "Checkpoint | None"  # whose weights it begins with


def train(task: Task) -> float:
    """Train as `task` says, as one of the processes of a run. Returns the best validation loss in nats/char."""
    # Imported here, so that help and completion need not wait for torch.
    import torch

    from board.board import Board, SilentBoard
    from data.batches import Batches
    from data.corpus import Corpus
    from model.decoder import Decoder
    from training.allocator import keep_freed_memory
    from training.device import changes, choose_runtime, machine
    from training.distributed import current_ranks, explain_lost_rank
    from training.ending import best_kept, tested, write_samples
    from training.folder import CheckpointFolder
    from training.interruption import Interrupted
    from training.loop import fit
    from training.memory import explain_out_of_memory
    from training.plain import plain
    from training.transfer import transfer

    keep_freed_memory()
    record, directory, last, start = task.record, task.directory, task.last, task.start
    config, training, ranks = record.config, record.config.training, current_ranks()
    if training.batch_size < ranks.world_size:
        raise UserError(
            f"training.batch_size: expected a part for each of {ranks.world_size} processes, got {training.batch_size}"
        )
    flop = 6 * config.model.block_parameter_count() * training.steps * training.batch_size * config.model.context
    runtime = choose_runtime(config.runtime, flop, config.data.unit == Unit.window, ranks)
    record.ran_on = machine(runtime.device) | {"device": str(runtime.device), "precision": str(runtime.precision)}
    record.ran_on |= {"compile": str(runtime.compile), "processes": ranks.world_size}
    corpus = ranks.in_turn(lambda: Corpus.load(config.data, config.model.context))
    if last and (last.corpus_sha256, last.vocabulary) != (corpus.sha256, corpus.vocabulary.characters):
        raise UserError("resume: expected the text that the run was started with, got another")
    vocabulary, seed = corpus.vocabulary, config.seed
    opening = vocabulary.encode(vocabulary.opening).tolist()
    end = opening[0] if config.data.unit == Unit.line else None
    probes = choose_probes(config, corpus)

    print(f"text     {corpus.described}, from {config.data.path or config.data.source}")
    part = -(-training.batch_size // ranks.world_size)
    characters = min(training.micro_batch_size or part, part) * config.model.context
    with explain_out_of_memory(config.model, characters, runtime.device), explain_lost_rank():
        decoder = Decoder(config.model, len(vocabulary), torch.Generator().manual_seed(seed)).to(runtime.device)
        whole = corpus.training.on(runtime.device)
        batches = Batches(whole, training.batch_size, seed, ranks.rank, ranks.world_size)
        print(f"decoder  {decoder.parameter_count():,} parameters")
        if (config.model.scoring, config.model.position) == (ScoringKind.mean, PositionKind.rotary):
            print("         the mean asks with no queries: there is nothing to rotate, only the mask tells positions")
        if start:
            print(f"         begun with {config.init_from}: {transfer(start, decoder, vocabulary.characters)}")
        print(f"runs on  {runtime.reason}")
        print(f"folder   {directory}", flush=True)
        if last:
            print(f"resumed  at step {last.step} of {training.steps}{changes(last.run['ran_on'], record.ran_on)}")
        checkpoints = CheckpointFolder(
            directory / "checkpoints",
            vocabulary.characters,
            corpus.sha256,
            corpus.training_lines,
            plain(record),
            ranks,
        )
        told = directory, config.board, vocabulary.characters, probes, opening, end
        with closing(Board(*told) if ranks.is_first else SilentBoard()) as board:
            if not last:
                board.begin(json.dumps(plain(config), indent=2, ensure_ascii=False))
            try:
                outcome = fit(decoder, batches, corpus.validation, training, runtime, board, checkpoints, last)
            except Interrupted as interrupted:
                say_how_to_resume(directory, str(interrupted))
                sys.exit(interrupted.exit_code)
            results = {name: value for name, value in asdict(outcome).items() if name != "compiled"}
            board.finish(outcome.steps, record.settings, results)
    if not ranks.is_first:
        return outcome.best_validation_loss
    summary = asdict(outcome) | {
        "parameters": decoder.parameter_count(),
        "bits_per_character": outcome.best_validation_loss / math.log(2),
        "settings": record.settings,
        "seed": seed,
        "corpus_sha256": corpus.sha256,
    }
    best = best_kept(directory / "checkpoints")
    if corpus.test:
        summary |= tested(best, corpus.test, runtime)
    with replacing(directory / "summary.json") as stream:
        stream.write(json.dumps(summary | record.ran_on, indent=2).encode() + b"\n")
    write_samples(best, opening, end, seed)
    print(f"best validation loss {outcome.best_validation_loss:.4f} nats/char; {outcome.seconds:.0f} s")
    if corpus.test:
        bits = summary["test_bits_per_character"]
        print(f"its loss on the test split {summary['test_loss']:.4f} nats/char, {bits:.4f} bits/char")
    say_how_to_go_on(directory)
    return outcome.best_validation_loss


@command(
    "train",
    free_text=("data.path", "resume", "init_from"),
    free_texts=("board.probe",),
    keeps_runs=True,
    after_sweep=compare_runs,
    followed_by=train,
)
def main(config: TrainConfig, directory: Path) -> float:
    """Train as `config` says and keep everything in `directory`. Returns the best validation loss in nats/char."""
    from training.distributed import current_ranks
    from training.loop import is_finished

    record, last, start = settled(config, directory)
    training = record.config.training
    if last and is_finished(last.state, training) and is_told(directory, last.step):
        longer = "; a larger training.steps would go on" if last.step == training.steps else ", as patience has ended"
        print(f"finished: {shown(directory)}, at step {last.step}{longer}")
        return last.state.best_validation_loss
    return train(current_ranks().broadcast(Task(record, directory, last, start)))


def settled(config: TrainConfig, directory: Path) -> "tuple[Record, Checkpoint | None, Checkpoint | None]":
    """What the run is to do, the checkpoint that it goes on from, and that whose weights it begins with."""
    from training.checkpoint import LAST, find_checkpoint, load_checkpoint
    from training.plain import from_plain

    overrides = HydraConfig.get().overrides.task
    record, last, start = Record.of(config), None, None
    if config.resume and has_run(directory):
        file = directory / "checkpoints" / LAST
        last = load_checkpoint(file)
        try:
            then = from_plain(Record, last.run, "run")
            if then.config.model != last.model or then.config.problems():
                raise ValueError("; ".join(then.config.problems()) or "a record of another model")
        except ValueError as error:
            raise UserError(f"resume: expected the checkpoint of a run in {file}, got: {error}") from error
        record = merge_for_resume(then, record, overrides)
    elif config.resume not in (None, AUTO):
        raise UserError(f"resume: expected auto or a run's folder, got {config.resume} for {directory}")
    elif config.init_from:
        start = load_checkpoint(find_checkpoint(config.init_from))
        config.model = init_from_config(start.model, config.model, overrides)
    return record, last, start


def is_told(directory: Path, steps: int) -> bool:
    """Whether the summary is that of so many steps."""
    try:
        return bool(json.loads((directory / "summary.json").read_text(encoding="utf-8"))["steps"] == steps)
    except (OSError, ValueError, KeyError, TypeError):  # lost, or of a run that was ended before it had one
        return False


def choose_probes(config: TrainConfig, corpus: "Corpus") -> dict[str, list[int]]:
    """The ids of the texts whose attention is shown: one that was held out, and the user's own."""
    from attention_tab.format import largest_text

    context, vocabulary = config.model.context, corpus.vocabulary
    heads = config.model.all_heads()
    probes = {"validation": corpus.validation.probe(min(PROBE_LENGTH, context)).tolist()}
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


def say_how_to_resume(directory: Path, interrupted_by: str) -> None:
    command = shlex.join([typed_as("python"), "train.py", f"resume={shown(directory)}"])
    print(f"interrupted by {interrupted_by}, and saved; to go on:  {command}")


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
