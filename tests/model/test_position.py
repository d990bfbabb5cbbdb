import math

import pytest
import torch
from torch import Tensor

from model.attention_pooling import AttentionPooling
from model.position import RotaryPosition, angles, cosine_sine, rotate, sinusoidal_encoding
from model.scoring import Additive, Bilinear, Distance, DotProduct, Mean, Scoring
from tests.model.helpers import random


@pytest.mark.parametrize("width", [1, 2, 7, 32, 33])
def test_the_table_is_the_formula_for_every_width(width: int) -> None:
    table = sinusoidal_encoding(60, width)
    assert table.shape == (60, width)
    for i in range(60):
        for column in range(width):
            angle = i / 10_000 ** ((column - column % 2) / width)
            expected = math.sin(angle) if column % 2 == 0 else math.cos(angle)
            assert table[i, column].item() == pytest.approx(expected, abs=1e-6)


def test_far_positions_are_as_exact_as_near_ones() -> None:
    assert sinusoidal_encoding(100_001, 2)[100_000, 0].item() == pytest.approx(math.sin(100_000), abs=1e-6)
    assert sinusoidal_encoding(2, 2).dtype == torch.float32


# Rotary positions: Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding", section 3.2.

T, D = 24, 8


def rotated(x: Tensor) -> Tensor:
    """Each row rotated by its position, in float64."""
    angle = angles(x.shape[-2], x.shape[-1])[:, : x.shape[-1] // 2]
    return rotate(x, cosine_sine(angle))


def test_rotation_is_multiplication_by_a_complex_number_of_length_one() -> None:
    x = random(2, 3, T, D)
    numbers = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    expected = torch.view_as_real(numbers * torch.exp(1j * angles(T, D))).flatten(-2)
    torch.testing.assert_close(rotated(x), expected)
    torch.testing.assert_close(RotaryPosition(T + 1, D)(x.float()), expected.float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [1, 5])
def test_rotation_leaves_an_odd_last_column_as_it_is(size: int) -> None:
    x = random(2, 3, T, size)
    assert torch.equal(rotated(x)[..., -1], x[..., -1])
    assert torch.equal(rotated(x)[..., 0, :], x[..., 0, :])  # the first position has angle zero
    assert (rotated(x)[..., 1:, : size - 1] != x[..., 1:, : size - 1]).all()


@pytest.mark.parametrize(
    ("scoring", "relative"),
    [
        pytest.param(DotProduct(), True, id="dot"),
        pytest.param(Distance(), True, id="distance"),
        pytest.param(Additive(1, D), False, id="additive"),
        pytest.param(Bilinear(1, D, D), False, id="bilinear"),
    ],
)
def test_rotation_makes_dot_products_and_distances_relative_but_not_the_others(
    scoring: Scoring, relative: bool
) -> None:
    query, key = rotated(random(2, 1, 1, 1, D).expand(2, 1, 1, T, D))
    scores = scoring.double().scores(query, key)[0, 0]
    change = (scores[1:, 1:] - scores[:-1, :-1]).abs().max().item()
    assert change < 1e-12 if relative else change > 1e-2
    assert not relative or scores[0].std() > 0.1


def test_a_mean_ignores_rotation() -> None:
    query, key, value = random(3, 1, 1, T, D)
    poolings = [AttentionPooling(Mean(), rotary=rotary) for rotary in (None, RotaryPosition(T, D))]
    assert torch.equal(*(pooling.weights(query, key) for pooling in poolings))
    assert torch.equal(*(pooling(query, key, value) for pooling in poolings))


def test_rotation_works_at_any_storage_offset() -> None:
    for row in random(3, 1, 1, 1, 5):
        torch.testing.assert_close(rotated(row), rotated(row.clone()))


@pytest.mark.parametrize("size", [4, 5])
def test_rotation_by_complex_numbers_agrees_with_rotation_by_sums(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = random(2, 3, 7, size)
    by_numbers = rotated(x)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(rotated(x), by_numbers)
