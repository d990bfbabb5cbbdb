"""The training loop: read `fit` from top to bottom and you know how training works."""

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from board.board import Board
from data.batches import NO_TARGET, Batch, Batches, Sequences
from model.decoder import Decoder, inference
from training.checkpoint import BEST, LAST, Checkpoint
from training.compilation import compiled
from training.config import TrainingConfig
from training.device import Runtime
from training.divergence import has_diverged, roll_back
from training.folder import CheckpointFolder
from training.interruption import Interrupted, noted_signals
from training.learner import Learner
from training.memory import peak_bytes
from training.optimizer import set_learning_rates
from training.progress import Progress
from training.state import TrainingState

READ_EVERY = 10  # steps between readings of the loss: each makes the host wait for the device
EVALUATION_LOGITS = 2**24  # in one forward pass of the evaluation, which bounds its memory


@dataclass(frozen=True)
class Outcome:
    """What a run came to. Losses are in nats/char over the whole validation split."""

    steps: int
    characters: int  # trained on, repetitions counted
    seconds: float  # of the whole loop, with evaluation and logging
    characters_per_second: float  # of the training steps alone
    step_bytes: int  # the most that the activations and gradients of a plain step take at once
    compiled: bool  # whether training steps were
    skipped_steps: int  # because loss or gradient was not finite
    best_validation_loss: float
    final_validation_loss: float


def fit(
    decoder: Decoder,
    batches: Batches,
    validation: Sequences,
    config: TrainingConfig,
    runtime: Runtime,
    board: Board,
    checkpoints: CheckpointFolder,
    last: Checkpoint | None = None,
) -> Outcome:
    """Train `decoder` on `batches`; evaluate on `validation`, log and save as often as `config` says.

    Goes on from the `last` checkpoint, if there is one, as if nothing had happened. Raises Interrupted when asked to
    end early, and UserError when training has diverged or its end could not be saved.
    """
    learner, state = Learner.of(decoder, config, runtime), TrainingState()
    if last:
        learner.take_up(last)
        state = last.state
        board.roll_back_to(state.step)
    decoder.train()
    with noted_signals() as signals, closing(Progress(config.steps, state)) as progress:
        with progress.paused():
            if not last:
                with runtime.autocast():
                    board.attention(0, decoder)
                    board.pictures(0, decoder)
                board.positions(0, decoder)
                board.flush()
                checkpoints.save(LAST, learner, progress.settle(), progress.say)
            first = next(batches(0).split(config.micro_batch_size or config.batch_size))
            plain = runtime.ranks.wrap_ddp(decoder)
            model = compiled(plain, lambda model: summed_loss(model, first, runtime), runtime, progress.say)
        saved_at = progress.seconds()
        while not is_finished(state, config):
            rate = set_learning_rates(learner.optimizers, state.step, config, state.rollbacks)
            batch = batches(state.step)
            loss, norm = train_step(model, learner.optimizers, learner.scaler, batch, config, runtime)
            progress.stepped(loss, norm, batch.whole)
            step, wish = state.step, runtime.ranks.any_signal(signals.come)
            evaluation_due = step % config.evaluate_every == 0 or step == config.steps
            if step % READ_EVERY == 0 or evaluation_due:
                board.training(step, progress.read(), rate)
            if evaluation_due:
                with progress.paused():
                    state.validation_loss = evaluate(decoder, validation, runtime)
            if has_diverged(state, evaluated=evaluation_due):
                state = roll_back(learner, batches, config, board, checkpoints, progress)
                continue
            if evaluation_due:
                with progress.paused():
                    state.evaluated()
                    board.validation(step, state.validation_loss, decoder)
                    if state.evaluations_since_best == 0:
                        checkpoints.save(BEST, learner, progress.settle(), progress.say)
                    progress.evaluated()
            if board.pictures_due(step, evaluation_due):
                with progress.paused(), runtime.autocast():
                    board.pictures(step, decoder)
            if is_finished(state, config) or board.attention_due(step, config.steps):
                with progress.paused(), runtime.autocast():
                    board.attention(step, decoder)
            # Last, and when all of this step can be read on the disk: who goes on from here does none of it again.
            save_due = config.checkpoint_due(step, progress.seconds() - saved_at) and progress.latest_was_taken()
            if evaluation_due or wish or save_due:
                with progress.paused():
                    board.flush()
                    checkpoints.save(LAST, learner, progress.settle(), progress.say)
                saved_at = progress.seconds()
            if wish:
                checkpoints.check_saved()
                raise Interrupted(wish)
        if state.step < config.steps:
            progress.say(f"stopped: no better validation loss in the last {config.patience} evaluations")
        progress.settle()
    checkpoints.check_saved()
    return Outcome(
        steps=state.step,
        characters=state.characters,
        seconds=state.seconds,
        characters_per_second=state.characters / state.training_seconds,
        step_bytes=step_bytes(decoder, batches(state.step - 1), config, runtime),
        compiled=model is not plain,
        skipped_steps=state.skipped,
        best_validation_loss=state.best_validation_loss,
        final_validation_loss=state.validation_loss,
    )


def is_finished(state: TrainingState, config: TrainingConfig) -> bool:
    """Whether all steps are taken, or patience has ended."""
    return state.step >= config.steps or state.evaluations_since_best == config.patience


def step_bytes(decoder: Decoder, batch: Batch, config: TrainingConfig, runtime: Runtime) -> int:
    """The most bytes that the forward and backward pass of a step take at once, beside weights and optimizer state."""
    decoder.zero_grad(set_to_none=True)
    micro_batch = next(batch.split(config.micro_batch_size or len(batch.inputs)))
    taken = peak_bytes(lambda: summed_loss(decoder, micro_batch, runtime).backward())
    decoder.zero_grad(set_to_none=True)
    return taken


def train_step(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    scaler: torch.amp.GradScaler,
    batch: Batch,
    config: TrainingConfig,
    runtime: Runtime,
) -> tuple[Tensor, Tensor]:
    """One step of every optimizer on one batch, accumulated over micro-batches and processes, each with its part.

    What is not finite never reaches the weights: then no optimizer steps, as the clipping has mixed all gradients.
    Returns the mean loss in nats/char, NaN if the step was skipped, and the gradient's norm before clipping, both still
    on the device.
    """
    total, ranks = torch.zeros((), device=runtime.device), runtime.ranks
    model.zero_grad(set_to_none=True)
    micro_batches = list(batch.split(config.micro_batch_size or len(batch.inputs)))
    for micro_batch in micro_batches:
        runtime.seed(micro_batch.seed)
        with ranks.no_sync(model, micro_batch is micro_batches[-1]):
            # Each micro-batch counts by its share, as the last may be smaller; of the processes' sums, the mean counts.
            loss = summed_loss(model, micro_batch, runtime) / (batch.whole / ranks.world_size)
            scaler.scale(loss).backward()
        total += loss.detach()
    total = ranks.mean(total)
    for optimizer in optimizers:
        scaler.unscale_(optimizer)
    norm = clip_grad_norm_(model.parameters(), config.gradient_clip)
    usable = (total + norm).isfinite()
    for optimizer in optimizers:
        optimizer.found_inf = 1.0 - usable.float()  # type: ignore[attr-defined] # torch reads it, but has no type for it
        optimizer.step()
    scaler.update()
    return total.where(usable, math.nan), norm


def evaluate(decoder: Decoder, validation: Sequences, runtime: Runtime) -> float:
    """Mean loss in nats/char over all characters held out but the first, each scored once.

    A text is read in windows of one context that do not overlap, so a character has between one and `context`
    characters before it to go by: the same protocol as the mean over random windows that peers report. A line is read
    from its beginning, and its end is one of the characters scored.
    """
    context, vocabulary_size = decoder.config.context, decoder.output.out_features
    batch_size = min(256, max(1, EVALUATION_LOGITS // (context * vocabulary_size)))
    read, ranks = torch.zeros(2, dtype=torch.float64), runtime.ranks  # nats and characters
    with inference(decoder):
        for batch in islice(validation.sequential(batch_size), ranks.rank, None, ranks.world_size):
            read += torch.tensor([summed_loss(decoder, batch, runtime), batch.characters], dtype=torch.float64)
    nats, characters = ranks.mean(read).tolist()
    return nats / characters


def summed_loss(model: nn.Module, batch: Batch, runtime: Runtime) -> Tensor:
    """Cross-entropy in nats, summed over the targets that there are."""
    batch = batch.to(runtime.device)
    with runtime.autocast():
        logits = model(batch.inputs, batch.valid_lens)
    targets = batch.targets.flatten()
    return F.cross_entropy(logits.float().flatten(0, 1), targets, ignore_index=NO_TARGET, reduction="sum")
