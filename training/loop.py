"""The training loop: read `fit` from top to bottom and you know how training works."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from data.batches import Batches, in_order
from errors import UserError
from model.decoder import Decoder, inference
from training.board import Board
from training.checkpoint import CheckpointFolder
from training.config import Precision, TrainingConfig
from training.optimizer import learning_rate, make_optimizer
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
    meter = Meter(characters_per_step=batches.batch_size * batches.context)
    best, evaluations_since_best = math.inf, 0
    decoder.train()
    with tqdm(total=config.steps, bar_format=BAR, dynamic_ncols=True, disable=None) as bar:
        for step in range(1, config.steps + 1):
            rate = learning_rate(step - 1, config)
            for group in optimizer.param_groups:
                group["lr"] = rate
            meter.add(*train_step(decoder, optimizer, scaler, batches(step - 1), config, runtime))
            bar.update()

            evaluation_due = step % config.evaluate_every == 0 or step == config.steps
            if step % READ_EVERY == 0 or evaluation_due:
                loss, norm, speed = meter.read()
                board.training(step, loss, rate, norm, speed)
                so_far = f", best validation {best:.3f}" if best < math.inf else ""
                bar.set_postfix_str(f"loss {loss:.3f}{so_far}, {speed:,.0f} characters/s", refresh=False)
                check_finite(loss, step, config)
            if board.attention_due(step, evaluation_due):
                with meter.paused():
                    board.attention(step, decoder)
            if evaluation_due:
                with meter.paused():
                    validation = evaluate(decoder, held_out, runtime)
                    check_finite(validation, step, config)
                    board.validation(step, validation, decoder)
                    evaluations_since_best = 0 if validation < best else evaluations_since_best + 1
                    best = min(best, validation)
                    checkpoints.save(decoder, optimizer, scaler, step, best, evaluations_since_best)
                    bar.write(
                        f"step {step:>{len(str(config.steps))}}/{config.steps}  loss {loss:.4f}  "
                        f"validation {validation:.4f} nats/char ({validation / math.log(2):.4f} bits)  "
                        f"{speed:,.0f} characters/s  {meter.left(step / config.steps)} left"
                    )
            if evaluations_since_best == config.patience:
                bar.write(f"stopped: no better validation loss in the last {config.patience} evaluations")
                break
    return Outcome(
        steps=step,
        characters=meter.characters,
        seconds=meter.seconds(),
        characters_per_second=meter.characters / meter.training_seconds(),
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


# In a terminal; a log file gets the line of each evaluation alone.
BAR = "step {n_fmt}/{total_fmt} |{bar}| {remaining} left{postfix}"


class Meter:
    """Sums up losses on the device until they are read, and keeps the time of training apart from the rest."""

    def __init__(self, characters_per_step: int) -> None:
        self.characters_per_step = characters_per_step
        self.characters = 0
        self._losses: list[Tensor] = []
        self._norm = torch.zeros(())
        self._started = time.perf_counter()
        self._paused_seconds = 0.0
        self._read_at = 0.0  # training seconds at the last reading

    def add(self, loss: Tensor, norm: Tensor) -> None:
        self._losses.append(loss)
        self._norm = norm
        self.characters += self.characters_per_step

    def read(self) -> tuple[float, float, float]:
        """Mean loss, last gradient norm and characters/s since the last reading. Waits for the device."""
        loss, norm = torch.stack(self._losses).mean().item(), self._norm.item()
        now = self.training_seconds()
        speed = len(self._losses) * self.characters_per_step / (now - self._read_at)
        self._read_at = now
        self._losses.clear()
        return loss, norm, speed

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside is not training. Waits first for the training that the device has yet to finish."""
        if self._losses:
            self._losses[-1].item()
        start = time.perf_counter()
        yield
        self._paused_seconds += time.perf_counter() - start

    def left(self, share_done: float) -> str:
        """Time to the end as minutes:seconds, if the rest goes as what is done went."""
        return str(tqdm.format_interval(self.seconds() * (1 - share_done) / share_done))

    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def training_seconds(self) -> float:
        return self.seconds() - self._paused_seconds
