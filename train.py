"""Launch a training run: `python train.py --help`."""

import json
from contextlib import closing
from dataclasses import asdict
from functools import partial

from cli.command import Command
from conf.schema import TrainConfig
from data.config import Unit
from errors import UserError
from model.config import PositionKind, ScoringKind
from terminal import relative, visible
from training.comparison import compare_runs
from training.run import Job, Run, changes, prepare_run, transfer

FREE_TEXT, FREE_TEXTS = ("data.path", "resume", "init_from"), ("board.probe",)  # taken as they are typed


@partial(Command, name="train", free_text=FREE_TEXT, free_texts=FREE_TEXTS, trains=True, after_sweep=compare_runs)
def main(config: TrainConfig, job: Job) -> float | None:
    """Train as `config` says, as one of the ranks of a run.

    Returns the best validation loss in nats/char, for a sweep; None without validation.
    """
    from training.distributed import current_ranks, explain_lost_rank  # not above: help need not wait for torch

    ranks = current_ranks()
    with explain_lost_rank():
        run = ranks.broadcast(prepare_run(config, job) if ranks.is_first else None)
        if run.finished:
            print(f"finished: {relative(run.directory)}, {run.finished}")
            return run.last.state.best_validation_loss if run.last else None
        return train(run)


def train(run: Run) -> float | None:
    """Build what `fit` needs, and fit. Returns the best validation loss in nats/char, if there is one."""
    import torch

    from board.board import Board, SilentBoard
    from board.probes import choose_probes, choose_sample
    from data.batches import Batches
    from data.corpus import Corpus
    from model.decoder import Decoder
    from training.checkpoint import CheckpointFolder
    from training.config import to_dict
    from training.device import choose_runtime
    from training.distributed import current_ranks
    from training.finish import explain_interruption, finish
    from training.loop import fit
    from training.memory import explain_out_of_memory, keep_freed_memory

    keep_freed_memory()
    record, config, last, ranks = run.record, run.record.config, run.last, current_ranks()
    model, training, lines = config.model, config.training, config.data.unit is Unit.line
    batch_size, world_size = training.batch_size, ranks.world_size
    if batch_size < world_size:
        raise UserError(f"training.batch_size: expected a part for each of {world_size} processes, got {batch_size}")
    flop = 6 * model.block_parameter_count() * training.steps * batch_size * model.context
    runtime = choose_runtime(config.runtime, flop, not lines, ranks)
    record.set_machine(runtime)
    corpus = ranks.in_turn(lambda: Corpus.load(config.data, model.context))
    vocabulary = corpus.vocabulary
    if last and (last.corpus_sha256, last.vocabulary) != (corpus.sha256, vocabulary.characters):
        raise UserError("resume: expected the text that the run was started with, got another")
    opening = vocabulary.encode(vocabulary.opening).tolist()
    probes = choose_probes(corpus, config.board.probe, model.context, model.all_heads(), lines)

    if ranks.is_first:
        print(visible("\n".join(corpus.remarks(config.data))))
    characters = min(training.micro_batch_size or batch_size, -(-batch_size // world_size)) * model.context
    with explain_out_of_memory(model, characters, runtime.device):
        decoder = Decoder(model, len(vocabulary), torch.Generator().manual_seed(config.seed)).to(runtime.device)
        batches = Batches(corpus.training.on(runtime.device), batch_size, config.seed, ranks.rank, world_size)
        print(f"decoder  {decoder.parameter_count():,} parameters")
        if (model.scoring, model.position) == (ScoringKind.mean, PositionKind.rotary):
            print("         mean scoring has no queries to rotate: the causal mask alone tells positions apart")
        if run.initial:
            print(f"         begun with {config.init_from}: {transfer(run.initial, decoder, vocabulary.tokens)}")
        print(f"runs on  {runtime.reason}\nfolder   {run.directory}", flush=True)
        if last:
            difference = changes(last.run["ran_on"], record.ran_on)
            print(visible(f"resumed  at step {last.step} of {training.steps}{difference}"))
        stored = vocabulary.characters, corpus.sha256, corpus.training_lines, to_dict(record), ranks
        checkpoints = CheckpointFolder(run.directory / "checkpoints", *stored)
        shown = run.directory, config.board, vocabulary.tokens, probes, opening, corpus.training.line_break
        measured = corpus.baselines, choose_sample(corpus, model.context)
        board = Board(*shown, vocabulary.unit, *measured) if ranks.is_first else SilentBoard()
        with explain_interruption(run.directory), closing(board):
            if not last:
                board.begin(json.dumps(to_dict(config), indent=2, ensure_ascii=False))
            elif config.board.probe != last.run["config"]["board"]["probe"]:
                board.log_probes(last.step)
            outcome = fit(decoder, batches, corpus.validation, training, runtime, board, checkpoints, last)
            results = {name: value for name, value in asdict(outcome).items() if name != "compiled"}
            board.finish(outcome.steps, record.settings, results)
    if ranks.is_first:
        finish(run, outcome, decoder.parameter_count(), corpus, runtime)
    return outcome.best_validation_loss


if __name__ == "__main__":
    main()
