"""How a run proceeds, where, and what it shows. Free of heavy imports, so that help and completion are instant."""

import math
import re
from dataclasses import dataclass
from enum import StrEnum


class Device(StrEnum):
    auto = "auto"  # the best there is: CUDA, then MPS, then CPU
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Precision(StrEnum):
    """The type that matrix products are computed in; weights are always kept in fp32."""

    auto = "auto"  # bf16 where the device has instructions for it
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class Compile(StrEnum):
    """Whether torch.compile turns training steps into kernels of their own."""

    auto = "auto"  # where it saves more time than it takes
    on = "on"
    off = "off"


class OptimizerKind(StrEnum):
    muon = "muon"  # for the maps in the blocks, and AdamW for all else
    adamw = "adamw"


class OnDivergence(StrEnum):
    """What becomes of a run whose loss or gradients are no longer finite, step after step."""

    rollback = "rollback"  # to the last good checkpoint, with smaller learning rates, a few times
    stop = "stop"


@dataclass(kw_only=True, slots=True)
class TrainingConfig:
    """Optimization, evaluation and stopping. Everything is counted in optimizer steps."""

    steps: int
    batch_size: int  # windows in one step
    learning_rate: float  # AdamW's highest, reached after warm-up
    evaluate_every: int
    micro_batch_size: int | None = None  # windows in memory at once; the rest of a batch is accumulated
    optimizer: OptimizerKind = OptimizerKind.muon
    muon_learning_rate: float = 0.02  # Muon's highest
    warmup: float = 0.05  # share of the steps over which the learning rates rise
    weight_decay: float = 0.1
    gradient_clip: float = 1.0  # largest norm of the gradient
    patience: int | None = None  # evaluations without a better validation loss before the run stops
    checkpoint_every: str = "5min"  # or a number of steps; and always at an evaluation
    on_divergence: OnDivergence = OnDivergence.rollback

    def checkpoint_due(self, step: int, seconds: float) -> bool:
        """Whether a checkpoint is, `seconds` after the one before."""
        number, minutes, _ = self.checkpoint_every.partition("min")
        return seconds >= 60 * float(number) if minutes else step % int(number) == 0

    def problems(self) -> list[str]:
        at_least_one = ("steps", "batch_size", "evaluate_every", "micro_batch_size", "patience")
        found = [
            f"training.{name}: expected at least 1, got {value}"
            for name in at_least_one
            if (value := getattr(self, name)) is not None and value < 1
        ]
        found += [
            f"training.{name}: expected a number above 0, got {value}"
            for name in ("learning_rate", "muon_learning_rate", "gradient_clip")
            if not 0 < (value := getattr(self, name)) < math.inf
        ]
        if not re.fullmatch(r"[1-9]\d*|\d*\.?\d+min", self.checkpoint_every, re.ASCII):
            found.append(
                f"training.checkpoint_every: expected a number of steps, or of minutes as in 5min, got "
                f"{self.checkpoint_every!r}"
            )
        if not 0 <= self.warmup < 1:
            found.append(f"training.warmup: expected at least 0 and below 1, got {self.warmup}")
        if not 0 <= self.weight_decay < math.inf:
            found.append(f"training.weight_decay: expected a number of at least 0, got {self.weight_decay}")
        return found


@dataclass(kw_only=True, slots=True)
class RuntimeConfig:
    device: Device = Device.auto
    precision: Precision = Precision.auto
    compile: Compile = Compile.auto
