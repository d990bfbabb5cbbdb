"""All that training changes, so that it can be kept and taken up again."""

from dataclasses import dataclass
from typing import Any

import torch

from errors import UserError
from model.decoder import Decoder
from training.checkpoint import Checkpoint, one_line
from training.config import Precision, TrainingConfig
from training.device import Runtime
from training.optimizer import load_optimizer_state, make_optimizers, optimizer_state


@dataclass(frozen=True)
class Learner:
    """A decoder and what makes it learn."""

    decoder: Decoder
    optimizers: list[torch.optim.Optimizer]
    scaler: torch.amp.GradScaler  # of fp16 gradients; idle in other precisions

    @classmethod
    def of(cls, decoder: Decoder, config: TrainingConfig, runtime: Runtime) -> "Learner":
        scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision is Precision.fp16)
        return cls(decoder, make_optimizers(decoder, config, runtime.precision), scaler)

    def kept(self) -> dict[str, Any]:
        """What of a checkpoint is the learner's. Tensors are its own, not copies."""
        return {
            "model": self.decoder.config,
            "weights": self.decoder.state_dict(),
            "optimizers": [optimizer_state(optimizer) for optimizer in self.optimizers],
            "scaler": self.scaler.state_dict(),
        }

    def take_up(self, checkpoint: Checkpoint) -> None:
        """Go on exactly where `checkpoint` was made. Raises UserError if that was in other ways.

        What it holds may become the learner's own and change with it. The scaler of another precision begins anew.
        """
        try:
            self.decoder.load_state_dict(checkpoint.weights)
            if len(checkpoint.optimizers) != len(self.optimizers):
                raise ValueError(f"{len(checkpoint.optimizers)} optimizers for {len(self.optimizers)}")
            for optimizer, state in zip(self.optimizers, checkpoint.optimizers, strict=True):
                load_optimizer_state(optimizer, state)
            if self.scaler.is_enabled() and checkpoint.scaler:
                self.scaler.load_state_dict(checkpoint.scaler)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"resume: the checkpoint does not fit the way of training: {one_line(error)}") from error
