"""The training loop: read `fit` from top to bottom and you know how training works."""

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from data.batches import NO_TARGET, Batch, Batches, Sequences
from errors import UserError
from model.decoder import Decoder, inference
from training.board import Board
from training.checkpoint import CheckpointFolder
from training.compilation import compiled
from training.config import OptimizerKind, Precision, TrainingConfig
from training.memory import peak_bytes
from training.optimizer import make_optimizers, set_learning_rates
from training.progress import Progress
from training.runtime import Runtime

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
    best_validation_loss: float
    final_validation_loss: float


def fit(
    decoder: Decoder,
    batches: Batches,
    held_out: Sequences,
    config: TrainingConfig,
    runtime: Runtime,
    board: Board,
    checkpoints: CheckpointFolder,
) -> Outcome:
    """Train `decoder` on `batches`; evaluate on `held_out`, log and save as often as `config` says.

    Raises UserError when the loss is no longer finite.
    """
    optimizers = make_optimizers(decoder, config, runtime.precision)
    scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision is Precision.fp16)
    best, evaluations_since_best = math.inf, 0
    decoder.train()
    first = next(batches(0).split(config.micro_batch_size or config.batch_size))
    with closing(Progress(config.steps)) as progress:
        with progress.paused():
            with runtime.autocast():
                board.attention(0, decoder)
                board.pictures(0, decoder)
            board.positions(0, decoder)
            model = compiled(decoder, lambda model: summed_loss(model, first, runtime), runtime, progress.say)
        for step in range(1, config.steps + 1):
            rate = set_learning_rates(optimizers, step - 1, config)
            batch = batches(step - 1)
            loss, norm = train_step(model, optimizers, scaler, batch, config, runtime)
            progress.stepped(loss, norm, batch.characters)
            evaluation_due = step % config.evaluate_every == 0 or step == config.steps
            if step % READ_EVERY == 0 or evaluation_due:
                reading = progress.read()
                check_finite(reading.loss, step, config)
                board.training(step, reading, rate)
            if board.pictures_due(step, evaluation_due):
                with progress.paused(), runtime.autocast():
                    board.pictures(step, decoder)
            if evaluation_due:
                with progress.paused():
                    validation = evaluate(decoder, held_out, runtime)
                    check_finite(validation, step, config)
                    evaluations_since_best = 0 if validation < best else evaluations_since_best + 1
                    best = min(best, validation)
                    board.validation(step, validation, decoder)
                    checkpoints.save(decoder, optimizers, scaler, step, best, evaluations_since_best)
                    progress.evaluated(step, validation)
            stopped = evaluations_since_best == config.patience
            if stopped or board.attention_due(step, config.steps):
                with progress.paused(), runtime.autocast():
                    board.attention(step, decoder)
            if stopped:
                progress.say(f"stopped: no better validation loss in the last {config.patience} evaluations")
                break
    return Outcome(
        steps=step,
        characters=progress.characters,
        seconds=progress.seconds(),
        characters_per_second=progress.characters / progress.training_seconds(),
        step_bytes=step_bytes(decoder, batch, config, runtime),
        compiled=model is not decoder,
        best_validation_loss=best,
        final_validation_loss=validation,
    )


def step_bytes(decoder: Decoder, batch: Batch, config: TrainingConfig, runtime: Runtime) -> int:
    """The most bytes that the forward and backward pass of a step take at once, beside weights and optimizer state."""
    decoder.zero_grad(set_to_none=True)
    micro_batch = next(batch.split(config.micro_batch_size or len(batch.inputs)))
    gpus = [runtime.device] if runtime.device.type == "cuda" else []
    with torch.random.fork_rng(gpus):  # dropout goes on as if nobody had looked
        taken = peak_bytes(lambda: summed_loss(decoder, micro_batch, runtime).backward())
    decoder.zero_grad(set_to_none=True)
    return taken


def check_finite(loss: float, step: int, config: TrainingConfig) -> None:
    """Raise UserError when training has diverged: no later step would bring it back."""
    if not math.isfinite(loss):
        names, rates = "training.learning_rate", f"{config.learning_rate}"
        if config.optimizer is OptimizerKind.muon:
            names, rates = f"{names}, training.muon_learning_rate", f"{rates} and {config.muon_learning_rate}"
        raise UserError(
            f"{names}: expected rates that training survives, got {rates}: the loss is {loss} at step {step}"
        )


def train_step(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    scaler: torch.amp.GradScaler,
    batch: Batch,
    config: TrainingConfig,
    runtime: Runtime,
) -> tuple[Tensor, Tensor]:
    """One step of every optimizer on one batch, accumulated over micro-batches.

    Returns the mean loss in nats/char and the gradient's norm before clipping, both still on the device.
    """
    total = torch.zeros((), device=runtime.device)
    model.zero_grad(set_to_none=True)
    for micro_batch in batch.split(config.micro_batch_size or len(batch.inputs)):
        # Each micro-batch counts by its share of the batch, so that the last one may be smaller.
        loss = summed_loss(model, micro_batch, runtime) / batch.characters
        scaler.scale(loss).backward()
        total += loss.detach()
    for optimizer in optimizers:
        scaler.unscale_(optimizer)
    norm = clip_grad_norm_(model.parameters(), config.gradient_clip)
    # In fp16 a gradient may overflow; then no optimizer steps, as the clipping has mixed all gradients.
    if not scaler.is_enabled() or norm.isfinite():
        for optimizer in optimizers:
            scaler.step(optimizer)
    scaler.update()
    return total, norm


def evaluate(decoder: Decoder, held_out: Sequences, runtime: Runtime) -> float:
    """Mean loss in nats/char over all characters held out but the first, each scored once.

    A text is read in windows of one context that do not overlap, so a character has between one and `context`
    characters before it to go by: the same protocol as the mean over random windows that peers report. A line is read
    from its beginning, and its end is one of the characters scored.
    """
    context, vocabulary_size = decoder.config.context, decoder.output.out_features
    batch_size = min(256, max(1, EVALUATION_LOGITS // (context * vocabulary_size)))
    total, characters = torch.zeros((), dtype=torch.float64), 0
    with inference(decoder):
        for batch in held_out.in_order(batch_size):
            total += summed_loss(decoder, batch, runtime).cpu()
            characters += batch.characters
    return total.item() / characters


def summed_loss(model: nn.Module, batch: Batch, runtime: Runtime) -> Tensor:
    """Cross-entropy in nats, summed over the targets that there are."""
    batch = batch.to(runtime.device)
    with runtime.autocast():
        logits = model(batch.inputs, batch.valid_lens)
    targets = batch.targets.flatten()
    return F.cross_entropy(logits.float().flatten(0, 1), targets, ignore_index=NO_TARGET, reduction="sum")
