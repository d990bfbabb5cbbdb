import math

import pytest
import torch

from model.position import sinusoidal_encoding


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
