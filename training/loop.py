"""The training loop: read `fit` from top to bottom and you know how training works."""

import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from signal import SIG_IGN, SIGINT, SIGTERM, Signals, getsignal, signal
from types import FrameType

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from board.board import Board
from data.batches import Batch, Batches, Sequences
from model.decoder import Decoder
from training.checkpoint import Checkpoint, CheckpointFolder
from training.config import TrainingConfig
from training.device import Runtime, compiled
from training.divergence import has_diverged, roll_back
from training.evaluate import evaluate, summed_loss
from training.optimizer import Learner, set_learning_rates, step_if_finite
from training.progress import Progress
from training.run_folder import BEST, LAST
from training.state import TrainingState

READ_EVERY = 10  # steps between readings of the loss: each makes the host wait for the device


@dataclass(frozen=True)
class Outcome:
    """The results of a run. Losses are in nats/char over the whole validation split, if there is one."""

    steps: int
    characters: int  # trained on, repetitions counted
    seconds: float  # of the whole loop, with evaluation and logging
    characters_per_second: float  # of the training steps alone
    compiled: bool  # whether training steps were
    skipped_steps: int  # because loss or gradient was not finite
    best_validation_loss: float | None
    final_validation_loss: float | None


def fit(
    decoder: Decoder,
    batches: Batches,
    validation: Sequences | None,
    config: TrainingConfig,
    runtime: Runtime,
    board: Board,
    checkpoints: CheckpointFolder,
    last: Checkpoint | None = None,
) -> Outcome:
    """Train `decoder` on `batches`; evaluate on `validation`, log and save as often as `config` says.

    Without validation the last checkpoint is the best. Resumes from the `last` checkpoint, if there is one, as if there
    had been no interruption. Raises Interrupted after a signal, and UserError when training has diverged or its end
    could not be saved.
    """
    learner, state = Learner.create(decoder, config, runtime), TrainingState()
    if last:
        last.restore(learner)
        state = last.state
        board.roll_back_to(state.step)
    decoder.train()
    with noted_signals() as signals, closing(Progress(config.steps, state)) as progress:

        def save(*names: str) -> None:
            for name in names:
                checkpoints.save(name, learner, progress.update_state(), progress.print)

        latest = (LAST, BEST) if validation is None else (LAST,)
        with progress.paused():
            if not last:
                with runtime.autocast():
                    board.attention(0, decoder)
                    board.pictures(0, decoder)
                board.positions(0, decoder)
                board.flush()
                save(*latest)
            first = next(batches(0).split(config.micro_batch_size or config.batch_size))
            uncompiled = runtime.ranks.wrap_ddp(decoder)
            model = compiled(uncompiled, lambda model: summed_loss(model, first, runtime), runtime, progress.print)
        saved_at = progress.seconds()
        while not state.is_finished(config):
            rate = set_learning_rates(learner.optimizers, state.step, config, state.rollbacks)
            batch = batches(state.step)
            loss, norm = train_step(model, learner.optimizers, learner.scaler, batch, config, runtime)
            progress.stepped(loss, norm, batch.whole)
            step, interruption = state.step, runtime.ranks.any_signal(next(iter(signals), None))
            evaluation_due = step % config.evaluate_every == 0 or step == config.steps
            if step % READ_EVERY == 0 or evaluation_due:
                board.training(step, progress.read(), rate)
            if evaluation_due and validation is not None:
                with progress.paused():
                    state.validation_loss = evaluate(decoder, validation, runtime)
            if has_diverged(state, evaluated=evaluation_due):
                state = roll_back(learner, batches, config, board, checkpoints, progress)
                continue
            if evaluation_due:
                with progress.paused():
                    is_best = state.compare_with_best()
                    board.validation(step, state.validation_loss, decoder)
                    if is_best:
                        save(BEST)
                    progress.print_evaluation()
            if board.pictures_due(step, evaluation_due):
                with progress.paused(), runtime.autocast():
                    board.pictures(step, decoder)
            cadence = step, config.steps, config.evaluate_every
            details_due = state.is_finished(config) or board.details_due(*cadence)
            if details_due or board.attention_due(*cadence):
                with progress.paused(), runtime.autocast():
                    board.attention(step, decoder, details_due)
            # Last, and when all of this step is in the event file: a run resumed from here does none of it again.
            save_due = config.checkpoint_due(step, progress.seconds() - saved_at) and progress.last_was_taken()
            if evaluation_due or interruption or save_due:
                with progress.paused():
                    board.flush()
                    save(*latest)
                saved_at = progress.seconds()
            if interruption:
                checkpoints.check_saved()
                raise Interrupted(interruption)
        if state.step < config.steps:
            progress.print(f"stopped: no better validation loss in the last {config.patience} evaluations")
        progress.update_state()
    checkpoints.check_saved()
    return Outcome(
        steps=state.step,
        characters=state.characters,
        seconds=state.seconds,
        characters_per_second=state.characters / state.training_seconds,
        compiled=model is not uncompiled,
        skipped_steps=state.skipped,
        best_validation_loss=state.best_validation_loss,
        final_validation_loss=state.validation_loss,
    )


def train_step(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    scaler: torch.amp.GradScaler,
    batch: Batch,
    config: TrainingConfig,
    runtime: Runtime,
) -> tuple[Tensor, Tensor]:
    """One step of every optimizer on one batch, its gradient accumulated over micro-batches and averaged over ranks.

    If the loss or a gradient is not finite, no optimizer steps, as clipping by norm has mixed all gradients.
    Returns the mean loss in nats/char, NaN if the step was skipped, and the gradient's norm before clipping, both still
    on the device.
    """
    total, ranks = torch.zeros((), device=runtime.device), runtime.ranks
    model.zero_grad(set_to_none=True)
    micro_batches = list(batch.split(config.micro_batch_size or len(batch.inputs)))
    for micro_batch in micro_batches:
        runtime.seed(micro_batch.seed)
        with ranks.no_sync(model, micro_batch is micro_batches[-1]):
            # Micro-batches are weighted by size, as the last may be smaller; ranks' sums are averaged, not summed.
            loss = summed_loss(model, micro_batch, runtime) / (batch.whole / ranks.world_size)
            scaler.scale(loss).backward()
        total += loss.detach()
    total = ranks.mean(total)
    for optimizer in optimizers:
        scaler.unscale_(optimizer)
    norm = clip_grad_norm_(model.parameters(), config.gradient_clip)
    finite = (total + norm).isfinite()
    for optimizer in optimizers:
        step_if_finite(optimizer, finite)
    scaler.update()
    return total.where(finite, math.nan), norm


class Interrupted(Exception):  # noqa: N818 - nothing has gone wrong
    """A run was asked to end, and has been saved."""

    def __init__(self, received: Signals) -> None:
        super().__init__(received.name)
        self.exit_code = 128 + received  # as shells have it


@contextmanager
def noted_signals() -> Iterator[list[Signals]]:
    """Inside, the first SIGINT or SIGTERM is only noted in the list, the second acts as before.

    In the main thread only.
    """
    received: list[Signals] = []

    def note(number: int, _: FrameType | None) -> None:
        restore()
        received.append(Signals(number))
        text = f"\n{received[0].name}: finishing this step, then saving; once more to stop at once\n"
        with suppress(OSError):  # its reader may have gone
            os.write(sys.stderr.fileno(), text.encode())  # print could be in the middle of its own work

    def restore() -> None:
        for each, handler in before.items():
            signal(each, handler)

    # A signal that is ignored, as by nohup, stays so; None is a handler that is not Python's.
    handled = [each for each in (SIGINT, SIGTERM) if getsignal(each) not in (SIG_IGN, None)]
    before = {each: signal(each, note) for each in handled}
    try:
        yield received
    finally:
        restore()
