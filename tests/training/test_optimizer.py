import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from model.config import PositionKind, ScoringKind
from tests.training.helpers import decoder
from training.config import OptimizerKind, TrainingConfig
from training.optimizer import (
    NEWTON_SCHULZ_STEPS,
    SHARE_LR_FACTOR,
    Muon,
    blocks,
    load_optimizer_state,
    lr_multiplier,
    make_optimizers,
    optimizer_state,
    orthogonalised,
    set_learning_rates,
)

CONFIG = TrainingConfig(steps=100, batch_size=1, learning_rate=2.0, evaluate_every=1, warmup=0.1, weight_decay=0.3)


def test_the_learning_rate_rises_to_its_peak_and_falls_nearly_to_zero() -> None:
    rates = [lr_multiplier(step, CONFIG) for step in range(100)]
    peak = rates.index(max(rates))
    assert peak in (9, 10)
    assert max(rates) == pytest.approx(1.0)
    assert rates[:10] == sorted(set(rates[:10]))
    assert rates[10:] == sorted(set(rates[10:]), reverse=True)
    assert rates[0] == pytest.approx(0.1)
    assert 0 < rates[-1] < 0.015


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 0.9), (2, 0.5), (7, 0.05)])
def test_every_step_has_a_positive_learning_rate(steps: int, warmup: float) -> None:
    config = TrainingConfig(steps=steps, batch_size=1, learning_rate=2.0, evaluate_every=1, warmup=warmup)
    assert all(0 < lr_multiplier(step, config) <= 1.0 for step in range(steps))


def test_both_optimizers_follow_one_schedule_each_to_a_peak_of_its_own() -> None:
    optimizers = make_optimizers(decoder(), CONFIG)
    assert set_learning_rates(optimizers, 4, CONFIG) == pytest.approx(1.0)
    rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    assert rates == pytest.approx([CONFIG.muon_learning_rate / 2, 1.0])


def test_the_shares_of_a_token_shift_learn_faster() -> None:
    model = decoder(token_shift=True, layers=1)
    adamw = make_optimizers(model, CONFIG)[-1]
    rates = {name: group["initial_lr"] for group in adamw.param_groups for name in group["param_names"]}
    shares = {"shift.share", "blocks.0.attention_shift.share", "blocks.0.feed_forward_shift.share"}
    assert {name for name, rate in rates.items() if rate == SHARE_LR_FACTOR * CONFIG.learning_rate} == shares
    assert {rates[name] for name in rates.keys() - shares} == {CONFIG.learning_rate}


@pytest.mark.parametrize("scoring", ScoringKind)
@pytest.mark.parametrize("kind", OptimizerKind)
def test_every_parameter_has_one_optimizer_and_decays_unless_it_is_a_vector_or_a_position(
    scoring: ScoringKind, kind: OptimizerKind
) -> None:
    model = decoder(bias=True, scoring=scoring, position=PositionKind.learned)
    optimizers = make_optimizers(model, replace(CONFIG, optimizer=kind))
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    held = [parameter for group in groups for parameter in group["params"]]
    assert sorted(map(id, held)) == sorted(map(id, model.parameters()))
    decays = {name: group["weight_decay"] for group in groups for name in group["param_names"]}
    for name, decay in decays.items():
        assert decay == (0.0 if name.endswith((".bias", "position.table", "scoring.vector")) else CONFIG.weight_decay)
    assert decays["position.table"] == 0.0
    assert [type(optimizer) for optimizer in optimizers] == [Muon, AdamW][-len(optimizers) :]
    if kind is OptimizerKind.muon:
        by_muon = {id(parameter) for group in optimizers[0].param_groups for parameter in group["params"]}
        assert by_muon == {id(m.weight) for b in model.blocks for m in b.modules() if isinstance(m, nn.Linear)}


@pytest.mark.parametrize("shape", [(6, 6), (4, 8), (8, 4)])
def test_orthogonalised_matrices_keep_their_directions_and_lose_their_lengths(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, lengths, right = torch.linalg.svd(matrices, full_matrices=False)
    found = left.mT @ orthogonalised(matrices) @ right.mT
    diagonal = found.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(found, torch.diag_embed(diagonal), atol=1e-9, rtol=0)
    shares = lengths / lengths.norm(dim=-1, keepdim=True)
    assert shares.max() / shares.min() > 3
    assert (diagonal[shares > 0.01] > 0.68).all()
    assert (diagonal < 1.21).all()


def test_a_matrix_without_a_gradient_direction_does_not_move() -> None:
    assert orthogonalised(torch.zeros(2, 4, 4)).eq(0).all()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4, 4), (1, 4, 4)),
        ((12, 4), (3, 4, 4)),  # queries, keys and values
        ((4, 16), (4, 4, 4)),
        ((1528, 384), (4, 382, 384)),  # not quite square
        ((10, 7), (1, 10, 7)),
        ((7, 15), (1, 7, 15)),  # two parts would not be equal
    ],
)
def test_matrices_are_parted_into_near_squares(shape: tuple[int, int], expected: tuple[int, ...]) -> None:
    matrix = torch.arange(math.prod(shape)).view(shape)
    parts = blocks(matrix)
    assert parts.shape == expected
    assert torch.equal(torch.cat(list(parts), 0 if shape[0] > shape[1] else 1), matrix)
    parts.zero_()
    assert matrix.eq(0).all()  # they are views


def test_muon_steps_as_torchs_own_where_nothing_is_parted() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(2, 6, 6, generator=generator)
    ours, theirs = ([nn.Parameter(matrix.clone()) for matrix in start] for _ in range(2))
    optimizers = (
        Muon(ours, lr=0.1, weight_decay=0.2, momentum=0.9, dtype=torch.bfloat16),
        torch.optim.Muon(theirs, lr=0.1, weight_decay=0.2, momentum=0.9, ns_steps=NEWTON_SCHULZ_STEPS),
    )
    for _ in range(5):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(6, 6, generator=generator)
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0.01)  # both round products to eight bits
    assert (ours[0] - start[0]).abs().max() > 0.2


def test_muon_in_bf16_is_near_muon_in_fp32() -> None:
    matrices = torch.randn(4, 32, 32, generator=torch.Generator().manual_seed(0))
    exact, rounded = orthogonalised(matrices), orthogonalised(matrices.bfloat16()).float()
    torch.testing.assert_close(rounded, exact, rtol=0, atol=0.05)


def test_muon_takes_matrices_alone() -> None:
    with pytest.raises(ValueError, match=r"expected matrices, got parameters of shape \[\(3,\)\]"):
        Muon([nn.Parameter(torch.zeros(3))], lr=1.0)


@pytest.mark.parametrize("kind", OptimizerKind)
def test_optimizer_state_is_named_by_parameter_and_loads_into_another_optimizer_alone_of_its_kind(
    kind: OptimizerKind,
) -> None:
    model, config = decoder(), replace(CONFIG, optimizer=kind)
    optimizers, others = make_optimizers(model, config), make_optimizers(model, config)
    assert optimizer_state(optimizers) == {}
    model(torch.tensor([[0, 1, 2]])).sum().backward()
    for optimizer in optimizers:
        optimizer.step()
    state = optimizer_state(optimizers)
    assert torch.equal(state["adamw.step.embedding.weight"], torch.tensor(1.0))
    assert ("muon.momentum_buffer.blocks.0.feed_forward.hidden.weight" in state) == (kind is OptimizerKind.muon)
    load_optimizer_state(others, state)
    torch.testing.assert_close(optimizer_state(others), state, rtol=0, atol=0)
    name = "adamw.exp_avg.embedding.weight"
    fewer = {key: tensor for key, tensor in state.items() if key != name}
    for wrong in (fewer, state | {"adamw.exp_avg.more": state[name]}):
        with pytest.raises(ValueError, match=r"adamw\.exp_avg\."):
            load_optimizer_state(others, wrong)
