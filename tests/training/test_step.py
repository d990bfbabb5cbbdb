"""One step of training, and fifty."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from data.batches import Batch, Batches, Lines, Windows
from model.config import PositionKind
from model.decoder import Decoder
from tests.training.helpers import CPU, IDS, decoder
from training.config import Device, OptimizerKind, Precision, RuntimeConfig, TrainingConfig
from training.device import choose_runtime
from training.distributed import Ranks
from training.evaluate import summed_loss
from training.loop import train_step
from training.optimizer import make_optimizers, optimizer_state, set_learning_rates

CONFIG = TrainingConfig(steps=1, batch_size=6, learning_rate=1e-2, evaluate_every=1)
NO_SCALING = torch.amp.GradScaler("cpu", enabled=False)


def random_batch(B: int) -> Batch:
    ids = torch.randint(8, (B, 9), generator=torch.Generator().manual_seed(3))
    return Batch(ids[:, :-1], ids[:, 1:])


def line_batch() -> Batch:
    """Three lines, of 2, 7 and 3 characters, each before a line break (0)."""
    lines = Lines(np.array([0, 1, 2, 0, 3, 4, 5, 6, 7, 1, 2, 0, 4, 4, 3, 0], dtype=np.uint8), 8, line_break=0)
    return lines.batch(np.arange(3))


def step(model: Decoder, batch: Batch, **changes: Any) -> float:
    config = replace(CONFIG, **changes)
    loss, _ = train_step(model, make_optimizers(model, config), NO_SCALING, batch, config, CPU)
    return loss.item()


@pytest.mark.parametrize("optimizer", OptimizerKind)
@pytest.mark.parametrize("kind", ["single", "multi"])
def test_one_small_batch_is_learned_by_heart(kind: str, optimizer: OptimizerKind) -> None:
    model = decoder(attention=[kind], width=32)
    batch = random_batch(4)
    batch.inputs[:, 0] = torch.arange(4)  # what follows the same first character could not be known
    config = replace(CONFIG, batch_size=4, weight_decay=0.0, optimizer=optimizer)
    optimizers = make_optimizers(model, config)
    losses = [train_step(model, optimizers, NO_SCALING, batch, config, CPU)[0].item() for _ in range(200)]
    assert losses[0] > 1.5
    assert losses[-1] < 0.01


@pytest.mark.parametrize(
    ("batch", "micro_batch_size"),
    [*((random_batch(6), size) for size in (1, 2, 4, 6, 100)), *((line_batch(), size) for size in (1, 2))],
)
def test_micro_batches_take_the_step_of_the_whole_batch_and_lines_count_by_their_characters(
    batch: Batch, micro_batch_size: int
) -> None:
    whole, parts = decoder().double(), decoder().double()
    loss = step(whole, batch)
    assert step(parts, batch, micro_batch_size=micro_batch_size) == pytest.approx(loss)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_padding_has_no_part_in_the_loss_and_the_decoder_knows_the_lengths() -> None:
    model, batch = decoder(), line_batch()
    lines = [[0, 1, 2, 0], [0, 3, 4, 5, 6, 7, 1, 2, 0], [0, 4, 4, 3, 0]]
    alone = [
        F.cross_entropy(model(torch.tensor([line[:-1]]))[0], torch.tensor(line[1:]), reduction="sum") for line in lines
    ]
    noted = Mock(wraps=model)
    torch.testing.assert_close(summed_loss(noted, batch, CPU), torch.stack(alone).sum())
    assert noted.call_args.args[1].tolist() == [3, 8, 4]


def test_the_gradient_is_clipped_to_its_largest_norm() -> None:
    model, config = decoder(), replace(CONFIG, gradient_clip=1e-3)
    _, norm = train_step(model, make_optimizers(model, config), NO_SCALING, random_batch(6), config, CPU)
    clipped = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()
    assert norm.item() > 1e-2
    assert clipped.item() == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("precision", [Precision.fp32, Precision.bf16, Precision.fp16])
@pytest.mark.parametrize("optimizer", OptimizerKind)
@pytest.mark.parametrize(("broken", "fused"), [("embedding", True), ("output", True), ("output", False)])
def test_what_is_not_finite_reaches_no_weight_and_no_optimizer(
    monkeypatch: pytest.MonkeyPatch, precision: Precision, optimizer: OptimizerKind, broken: str, fused: bool
) -> None:
    if not fused:  # as on MPS
        monkeypatch.setattr("training.optimizer.UNFUSED", {"cpu"})
    model, batch, config = decoder(), random_batch(6), replace(CONFIG, optimizer=optimizer)
    runtime = choose_runtime(RuntimeConfig(device=Device.cpu, precision=precision))
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, enabled=precision is Precision.fp16)
    optimizers = make_optimizers(model, config, precision)
    assert optimizers[-1].defaults["fused"] == fused
    train_step(model, optimizers, scaler, batch, config, runtime)  # so that there are moments to be spoiled
    before: list[Any] = copy.deepcopy([model.state_dict(), optimizer_state(optimizers)])
    # One gradient alone, that of AdamW's; the clipping would spread it to Muon's.
    hook = getattr(model, broken).weight.register_hook(lambda gradient: gradient * math.inf)
    loss, norm = train_step(model, optimizers, scaler, batch, config, runtime)
    assert math.isnan(loss) and not math.isfinite(norm)  # noqa: PT018
    torch.testing.assert_close([model.state_dict(), optimizer_state(optimizers)], before, rtol=0, atol=0)
    if scaler.is_enabled():
        assert scaler.get_scale() == 2.0  # it tries a smaller one
    hook.remove()
    loss, _ = train_step(model, optimizers, scaler, batch, config, runtime)
    assert math.isfinite(loss)
    assert not torch.equal(model.output.weight, before[0]["output.weight"])


class Two(Ranks):
    """The first of two processes, the other of which gives what this one does."""

    def mean(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor


class Gathering(torch.nn.Module):
    """Notes at each pass whether its gradients will be gathered, as torch's DistributedDataParallel is told."""

    def __init__(self, model: Decoder) -> None:
        super().__init__()
        self.model, self.gathers, self.passes = model, True, list[bool]()

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        self.gathers = False
        yield
        self.gathers = True

    def forward(self, *given: Any) -> torch.Tensor:
        self.passes.append(self.gathers)
        return self.model(*given)


def test_gradients_are_gathered_at_the_last_micro_batch_alone() -> None:
    model, config = Gathering(decoder()), replace(CONFIG, micro_batch_size=2)
    optimizers = make_optimizers(model.model, config)
    runtime = replace(CPU, ranks=Two(rank=0, world_size=2))
    train_step(model, optimizers, NO_SCALING, random_batch(6), config, runtime)
    assert model.passes == [False, False, True]


def losses_of_fifty_steps(runtime: RuntimeConfig | None = None, **changes: Any) -> list[float]:
    """The training loss of each step, all from the same weights and on the same batches."""
    chosen = choose_runtime(runtime or RuntimeConfig(device=Device.cpu, precision=Precision.fp32))
    config = replace(CONFIG, steps=50, **changes)
    model = decoder(width=32, position=PositionKind.rotary)
    optimizers = make_optimizers(model, config, chosen.precision)
    batches = Batches(Windows(IDS[:256], 8), 6, seed=0)
    losses = []
    for number in range(50):
        set_learning_rates(optimizers, number, config)
        loss, _ = train_step(model, optimizers, NO_SCALING, batches(number), config, chosen)
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1
    return losses


def test_fifty_steps_in_micro_batches_are_those_of_whole_batches() -> None:
    assert losses_of_fifty_steps(micro_batch_size=4) == pytest.approx(losses_of_fifty_steps(), abs=1e-4)


def test_fifty_steps_in_bf16_are_near_those_in_fp32() -> None:
    rounded = losses_of_fifty_steps(RuntimeConfig(device=Device.cpu, precision=Precision.bf16))
    assert rounded == pytest.approx(losses_of_fifty_steps(), abs=0.03)
