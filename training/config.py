"""Configuration of training, and typed configuration as JSON. Without heavy imports: help and completion are fast."""

import json
import math
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, is_dataclass
from enum import StrEnum
from types import UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


class Device(StrEnum):
    auto = "auto"  # the best there is: CUDA, then MPS, then CPU
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Precision(StrEnum):
    """The type that matrix products are computed in; weights are always kept in fp32."""

    auto = "auto"  # bf16 where the device is fast at it
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class Compile(StrEnum):
    """Whether torch.compile turns training steps into kernels of their own."""

    auto = "auto"  # where it saves more time than it takes
    on = "on"
    off = "off"


class OptimizerKind(StrEnum):
    muon = "muon"  # for the linear layers of the blocks, and AdamW for all else
    adamw = "adamw"


class OnDivergence(StrEnum):
    """The fate of a run whose loss or gradients are no longer finite, step after step."""

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
    test_stride: int | None = None  # of windows that score the test split once more, so that all have a long past
    checkpoint_every: str = "5min"  # or a number of steps; and always at an evaluation
    on_divergence: OnDivergence = OnDivergence.rollback

    def checkpoint_due(self, step: int, seconds: float) -> bool:
        """Whether a checkpoint is, `seconds` after the one before."""
        number, minutes, _ = self.checkpoint_every.partition("min")
        return seconds >= 60 * float(number) if minutes else step % int(number) == 0

    def problems(self) -> list[str]:
        at_least_one = ("steps", "batch_size", "evaluate_every", "micro_batch_size", "patience", "test_stride")
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


@dataclass(kw_only=True, slots=True)
class SamplingRuntimeConfig:
    """Device and precision of sampling."""

    device: Device = Device.auto
    precision: Precision = Precision.auto  # of the linear layers in the blocks

    def problems(self) -> list[str]:
        """Errors in these values, one entry each."""
        if self.precision is Precision.fp16:
            return ["runtime.precision: expected auto, fp32 or bf16, got fp16"]
        return []


def to_dict(config: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON has them: enums are their values."""
    return json.loads(json.dumps(asdict(config)))


def from_dict(cls: type[T], values: object, name: str) -> T:
    """The dataclass `cls` of which `to_dict` made `values`, without trust in them: OmegaConf would resolve `${...}`.

    Fields that have a default may be missing, as those that an older version did not know. Raises ValueError for
    anything else; it says where, from `name` on.
    """
    has_default = {each.name: each.default is not each.default_factory for each in fields(cls)}  # type: ignore[arg-type]
    names, needed = list(has_default), {field for field, found in has_default.items() if not found}
    if not isinstance(values, dict) or not needed <= set(values) <= set(names):
        raise ValueError(f"{name}: expected {', '.join(names)}, got {_shown(values)}")
    types = get_type_hints(cls)
    return cls(**{field: _typed(types[field], value, f"{name}.{field}") for field, value in values.items()})


def _typed(kind: Any, value: Any, name: str) -> Any:
    """`value` if JSON has it for what is annotated as `kind`."""
    arguments = get_args(kind)
    if isinstance(kind, UnionType):
        for each in arguments:
            with suppress(ValueError):
                return _typed(each, value, name)
    elif get_origin(kind) is list and isinstance(value, list):
        return [_typed(arguments[0], each, name) for each in value]
    elif get_origin(kind) is dict and isinstance(value, dict):
        return {_typed(arguments[0], key, name): _typed(arguments[1], each, name) for key, each in value.items()}
    elif is_dataclass(kind):
        return from_dict(cast(type, kind), value, name)
    elif isinstance(kind, type) and issubclass(kind, StrEnum) and value in list(kind):
        return kind(value)
    elif kind in (int, float):
        if isinstance(value, int) and abs(value) < 2**63:
            return float(value) if kind is float else value
        if kind is float and isinstance(value, float) and math.isfinite(value):
            return value
    elif kind is Any or (isinstance(kind, type) and isinstance(value, kind)):
        return value
    raise ValueError(f"{name}: expected {kind.__name__ if isinstance(kind, type) else kind}, got {_shown(value)}")


def _shown(value: object) -> str:
    return f"{type(value).__name__} {str(value)[:50]!r}"
