import pytest
import torch

from model.config import DecoderConfig
from model.decoder import Decoder
from training.config import TrainingConfig
from training.optimizer import learning_rate, make_optimizer

CONFIG = TrainingConfig(steps=100, batch_size=1, learning_rate=2.0, evaluate_every=1, warmup=0.1, weight_decay=0.3)


def test_the_learning_rate_rises_to_its_peak_and_falls_nearly_to_zero() -> None:
    rates = [learning_rate(step, CONFIG) for step in range(100)]
    peak = rates.index(max(rates))
    assert peak in (9, 10)
    assert max(rates) == pytest.approx(2.0)
    assert rates[:10] == sorted(set(rates[:10]))
    assert rates[10:] == sorted(set(rates[10:]), reverse=True)
    assert rates[0] == pytest.approx(0.2)
    assert 0 < rates[-1] < 0.03


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 0.9), (2, 0.5), (7, 0.05)])
def test_every_step_has_a_positive_learning_rate(steps: int, warmup: float) -> None:
    config = TrainingConfig(steps=steps, batch_size=1, learning_rate=2.0, evaluate_every=1, warmup=warmup)
    assert all(0 < learning_rate(step, config) <= 2.0 for step in range(steps))


def test_matrices_decay_and_vectors_do_not() -> None:
    model = Decoder(DecoderConfig(layers=2, heads=2, width=8, context=4, bias=True), 5)
    matrices, vectors = make_optimizer(model, CONFIG).param_groups
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.3, 0.0)
    assert {p.dim() for p in matrices["params"]} == {2}
    assert {p.dim() for p in vectors["params"]} == {1}
    assert len(matrices["params"]) + len(vectors["params"]) == len(list(model.parameters()))


def test_a_step_goes_downhill() -> None:
    model = torch.nn.Linear(1, 1)
    optimizer = make_optimizer(model, CONFIG)
    before = model.weight.item()
    model(torch.ones(1)).sum().backward()
    optimizer.step()
    assert model.weight.item() < before
