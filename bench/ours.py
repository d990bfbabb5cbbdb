"""This project's training step for the benchmarks, made as `train.py` and `training.loop.fit` make it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from data.batches import Batch
from model.config import DecoderConfig, PositionKind
from model.decoder import Decoder
from training.config import Compile, Device, OptimizerKind, Precision, RuntimeConfig, TrainingConfig
from training.device import Runtime, choose_runtime, compiled, keep_freed_memory
from training.evaluate import summed_loss
from training.loop import train_step
from training.optimizer import make_optimizers

VOCABULARY_SIZE = 65  # of tiny Shakespeare


@dataclass(frozen=True)
class Shape:
    """The size of a decoder and of its batches."""

    name: str
    layers: int
    heads: int
    width: int
    context: int
    batch: int


SHAPES = {
    "small": Shape("small", layers=4, heads=4, width=128, context=64, batch=12),
    "baby_gpt": Shape("baby_gpt", layers=6, heads=6, width=384, context=256, batch=64),
}
CPU_BATCHES = {"baby_gpt": 16}  # smaller ones, so that a CPU ends its rounds in minutes


def shape_on(device: str, name: str) -> Shape:
    """The shape of that name, with the batch that `device` gets."""
    shape = SHAPES[name]
    return replace(shape, batch=CPU_BATCHES.get(name, shape.batch)) if device == "cpu" else shape


@dataclass(frozen=True)
class Ours:
    """All that a training step needs."""

    decoder: Decoder
    model: nn.Module  # the decoder, or its compiled twin
    optimizers: list[torch.optim.Optimizer]
    config: TrainingConfig
    runtime: Runtime
    scaler: torch.amp.GradScaler

    @classmethod
    def of(
        cls,
        shape: Shape,
        device: torch.device,
        compile_: Compile = Compile.off,
        optimizer: OptimizerKind = OptimizerKind.muon,
        position: PositionKind = PositionKind.rotary,
        micro_batch: int | None = None,
    ) -> "Ours":
        """By default as the presets have it. `compile_`: on or off, as a benchmark is to know which."""
        keep_freed_memory()
        runtime = choose_runtime(RuntimeConfig(device=Device(device.type), compile=compile_))
        config = TrainingConfig(
            steps=1,
            batch_size=shape.batch,
            micro_batch_size=micro_batch,
            learning_rate=1e-3,
            evaluate_every=1,
            optimizer=optimizer,
        )
        sizes = DecoderConfig(
            layers=shape.layers, heads=shape.heads, width=shape.width, context=shape.context, position=position
        )
        decoder = Decoder(sizes, VOCABULARY_SIZE, torch.Generator().manual_seed(0)).to(runtime.device)
        ids = torch.zeros(shape.batch, shape.context, dtype=torch.int64)
        batch = Batch(ids, ids)
        model = compiled(decoder, lambda model: summed_loss(model, batch, runtime), runtime, say=lambda _: None)
        scaler = torch.amp.GradScaler(device.type, enabled=runtime.precision is Precision.fp16)
        return cls(decoder, model, make_optimizers(decoder, config, runtime.precision), config, runtime, scaler)

    def step(self, inputs: Tensor, targets: Tensor) -> None:
        """From the forward pass to the new weights, for ids and targets (B, T)."""
        train_step(self.model, self.optimizers, self.scaler, Batch(inputs, targets), self.config, self.runtime)

    def described(self) -> str:
        how = "" if self.runtime.compile is Compile.off else "compiled, "
        return f"{self.runtime.precision}, {how}{' and '.join(type(each).__name__ for each in self.optimizers)}"
