"""This project's training step for the benchmarks, made as `train.py` and `training.loop.fit` make it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from data.batches import Batch
from model.config import Activation, DecoderConfig, PositionKind
from model.decoder import Decoder
from training.config import Compile, Device, OptimizerKind, Precision, RuntimeConfig, TrainingConfig
from training.device import choose_runtime, compiled
from training.evaluate import summed_loss
from training.loop import train_step
from training.memory import keep_freed_memory
from training.optimizer import make_optimizers

VOCABULARY_SIZE = 65  # of tiny Shakespeare


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder and of its batches."""

    name: str
    layers: int
    heads: int
    width: int
    context: int
    batch: int

    def __str__(self) -> str:
        sizes = f"{self.layers} layers, {self.heads} heads, width {self.width}, context {self.context}"
        return f"{sizes}, batch {self.batch}"


SHAPES = {
    "small": Shape("small", layers=4, heads=4, width=128, context=64, batch=12),
    "baby_gpt": Shape("baby_gpt", layers=6, heads=6, width=384, context=256, batch=64),
}
CPU_BATCHES = {"baby_gpt": 16}  # so that a CPU ends its rounds in minutes


def shape_on(device: str, name: str, quick: bool = False) -> Shape:
    """The shape of that name with the batch that `device` gets; tiny for a quick trial."""
    shape = SHAPES[name]
    if quick:
        return replace(shape, layers=2, heads=2, width=32, context=16, batch=2)
    return replace(shape, batch=CPU_BATCHES.get(name, shape.batch)) if device == "cpu" else shape


def shapes_on(device: str, names: Sequence[str] | None, quick: bool) -> list[Shape]:
    """Those of the names, by default all; in a quick trial one, as all would be of one size."""
    return [shape_on(device, name, quick) for name in dict.fromkeys(names or [*SHAPES][: 1 if quick else None])]


def new_decoder(shape: Shape, device: torch.device, position: PositionKind = PositionKind.rotary) -> Decoder:
    """With the same random weights each time; with rotary positions as in the presets of these shapes."""
    config = DecoderConfig(
        layers=shape.layers, heads=shape.heads, width=shape.width, context=shape.context, position=position
    )
    if position is PositionKind.rotary:
        config.activation, config.token_shift = Activation.relu_squared, True
    return Decoder(config, VOCABULARY_SIZE, torch.Generator().manual_seed(0)).to(device)


def random_ids(*size: int) -> Tensor:
    """Ids of characters, the same each time."""
    return torch.randint(VOCABULARY_SIZE, size, generator=torch.Generator().manual_seed(0))


class TrainingStep:
    """A decoder with all that a training step takes, and a batch of random characters."""

    def __init__(
        self,
        shape: Shape,
        device: torch.device,
        compile_: Compile = Compile.off,  # on or off, so that it is known which
        optimizer: OptimizerKind = OptimizerKind.muon,
        position: PositionKind = PositionKind.rotary,
        micro_batch: int | None = None,
    ) -> None:
        """By default as in the presets."""
        keep_freed_memory()
        self.runtime = choose_runtime(RuntimeConfig(device=Device(device.type), compile=compile_))
        self.config = TrainingConfig(
            steps=1,
            batch_size=shape.batch,
            micro_batch_size=micro_batch,
            learning_rate=1e-3,
            evaluate_every=1,
            optimizer=optimizer,
        )
        self.decoder = new_decoder(shape, device, position)
        self.batch = Batch(*random_ids(2, shape.batch, shape.context)).to(device)
        precision = self.runtime.precision
        self.optimizers = make_optimizers(self.decoder, self.config, precision)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision is Precision.fp16)
        self.model = compiled(self.decoder, self.loss, self.runtime, say=lambda _: None)  # or the decoder as it is

    def loss(self, model: nn.Module) -> Tensor:
        """Of the batch, summed over its characters, in nats."""
        return summed_loss(model, self.batch, self.runtime)

    def take(self, batch: Batch | None = None) -> None:
        """From the forward pass to the new weights."""
        train_step(self.model, self.optimizers, self.scaler, batch or self.batch, self.config, self.runtime)

    def settings(self) -> str:
        how = "" if self.runtime.compile is Compile.off else "compiled, "
        return f"{self.runtime.precision}, {how}{' and '.join(type(each).__name__ for each in self.optimizers)}"
