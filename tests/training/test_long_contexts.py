"""Memory: long contexts fit by fused attention, large batches by accumulating gradients."""

from itertools import pairwise

import pytest
import torch

from bench.harness import peak_bytes
from data.batches import Batch
from model import attention_pooling
from model.config import DecoderConfig, PositionKind
from model.decoder import Decoder
from training.config import Compile, Precision, TrainingConfig
from training.device import Runtime
from training.evaluate import summed_loss
from training.loop import train_step

VOCABULARY = 65
RUNTIME = Runtime(torch.device("cpu"), Precision.bf16, Compile.off, "as the test has it")


def small(context: int) -> Decoder:
    """A decoder whose weights are few beside what a long context takes."""
    sizes = DecoderConfig(layers=2, heads=2, width=32, context=context, position=PositionKind.rotary)
    return Decoder(sizes, VOCABULARY, torch.Generator().manual_seed(0))


def batch_of(windows: int, context: int) -> Batch:
    ids = torch.randint(VOCABULARY, (windows, context), generator=torch.Generator().manual_seed(0))
    return Batch(ids, ids)


def bytes_at(context: int) -> int:
    decoder, batch = small(context), batch_of(1, context)
    return peak_bytes(lambda: summed_loss(decoder, batch, RUNTIME).backward())


def growth_a_doubling(first: int, last: int) -> list[float]:
    contexts = [first << i for i in range((last // first).bit_length())]
    return [more / fewer for fewer, more in pairwise(map(bytes_at, contexts))]


def test_with_fused_attention_memory_is_linear_in_the_context() -> None:
    assert attention_pooling.EXPLICIT_LONGEST < 1024
    assert max(growth_a_doubling(1024, 4096)) <= 2.1


def test_with_explicit_attention_memory_is_quadratic_in_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_pooling, "EXPLICIT_LONGEST", 4096)
    assert min(growth_a_doubling(512, 2048)) > 3


def test_a_batch_in_micro_batches_takes_the_memory_of_one_and_its_gradients() -> None:
    decoder, context = small(1024), 1024
    gradients = 4 * decoder.parameter_count()
    scaler = torch.amp.GradScaler("cpu", enabled=False)

    def taken(windows: int, at_once: int) -> int:
        batch = batch_of(windows, context)
        config = TrainingConfig(
            steps=1, batch_size=windows, micro_batch_size=at_once, learning_rate=1e-3, evaluate_every=1
        )
        peak = peak_bytes(lambda: train_step(decoder, [], scaler, batch, config, RUNTIME))
        decoder.zero_grad(set_to_none=True)
        return peak

    one = taken(windows=1, at_once=1)
    assert taken(windows=8, at_once=1) <= one + gradients
    assert taken(windows=8, at_once=8) > 6 * one
