"""The training loop: read `fit` from top to bottom and you know how training works."""

import math
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from data.batches import Batches, in_order
from errors import UserError
from model.decoder import Decoder, inference
from training.board import Board
from training.checkpoint import CheckpointFolder
from training.config import Precision, TrainingConfig
from training.optimizer import make_optimizer, set_learning_rate
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
    best_validation_loss: float
    final_validation_loss: float


def fit(
    decoder: Decoder,
    batches: Batches,
    held_out: np.ndarray,
    config: TrainingConfig,
    runtime: Runtime,
    board: Board,
    checkpoints: CheckpointFolder,
) -> Outcome:
    """Train `decoder` on `batches`; evaluate on `held_out`, log and save as often as `config` says.

    Raises UserError when the loss is no longer finite.
    """
    optimizer = make_optimizer(decoder, config)
    scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision is Precision.fp16)
    best, evaluations_since_best = math.inf, 0
    decoder.train()
    with closing(Progress(config.steps, batches.batch_size * batches.context)) as progress:
        for step in range(1, config.steps + 1):
            rate = set_learning_rate(optimizer, step - 1, config)
            progress.stepped(*train_step(decoder, optimizer, scaler, batches(step - 1), config, runtime))
            evaluation_due = step % config.evaluate_every == 0 or step == config.steps
            if step % READ_EVERY == 0 or evaluation_due:
                reading = progress.read()
                check_finite(reading.loss, step, config)
                board.training(step, reading, rate)
            if board.attention_due(step, evaluation_due):
                with progress.paused():
                    board.attention(step, decoder)
            if evaluation_due:
                with progress.paused():
                    validation = evaluate(decoder, held_out, runtime)
                    check_finite(validation, step, config)
                    evaluations_since_best = 0 if validation < best else evaluations_since_best + 1
                    best = min(best, validation)
                    board.validation(step, validation, decoder)
                    checkpoints.save(decoder, optimizer, scaler, step, best, evaluations_since_best)
                    progress.evaluated(step, validation)
            if evaluations_since_best == config.patience:
                progress.say(f"stopped: no better validation loss in the last {config.patience} evaluations")
                break
    characters = step * batches.batch_size * batches.context
    return Outcome(
        steps=step,
        characters=characters,
        seconds=progress.seconds(),
        characters_per_second=characters / progress.training_seconds(),
        best_validation_loss=best,
        final_validation_loss=validation,
    )


def check_finite(loss: float, step: int, config: TrainingConfig) -> None:
    """Raise UserError when training has diverged: no later step would bring it back."""
    if not math.isfinite(loss):
        raise UserError(
            f"training.learning_rate: expected one that training survives, got {config.learning_rate}: "
            f"the loss is {loss} at step {step}"
        )


def train_step(
    decoder: Decoder,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    batch: tuple[Tensor, Tensor],
    config: TrainingConfig,
    runtime: Runtime,
) -> tuple[Tensor, Tensor]:
    """One optimizer step on one batch, accumulated over micro-batches.

    Returns the mean loss in nats/char and the gradient's norm before clipping, both still on the device.
    """
    inputs, targets = batch
    micro_batch_size = config.micro_batch_size or len(inputs)
    total = torch.zeros((), device=runtime.device)
    optimizer.zero_grad(set_to_none=True)
    for x, y in zip(inputs.split(micro_batch_size), targets.split(micro_batch_size), strict=True):
        # Each micro-batch counts by its share of the batch, so that the last one may be smaller.
        loss = summed_loss(decoder, x, y, runtime) / inputs.numel()
        scaler.scale(loss).backward()
        total += loss.detach()
    scaler.unscale_(optimizer)
    norm = clip_grad_norm_(decoder.parameters(), config.gradient_clip)
    scaler.step(optimizer)
    scaler.update()
    return total, norm


def evaluate(decoder: Decoder, ids: np.ndarray, runtime: Runtime) -> float:
    """Mean loss in nats/char over all of `ids` but the first, each scored once.

    The ids are read in windows of one context that do not overlap, so a character has between one and `context`
    characters before it to go by: the same protocol as the mean over random windows that peers report.
    """
    context, vocabulary_size = decoder.config.context, decoder.output.out_features
    batch_size = min(256, max(1, EVALUATION_LOGITS // (context * vocabulary_size)))
    total = torch.zeros((), dtype=torch.float64)
    with inference(decoder):
        for inputs, targets in in_order(ids, batch_size, context):
            total += summed_loss(decoder, inputs, targets, runtime).cpu()
    return total.item() / (len(ids) - 1)


def summed_loss(decoder: Decoder, inputs: Tensor, targets: Tensor, runtime: Runtime) -> Tensor:
    """Cross-entropy in nats, summed over (B, T) targets."""
    inputs, targets = inputs.to(runtime.device), targets.to(runtime.device)
    with runtime.autocast():
        logits = decoder(inputs)
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="sum")
