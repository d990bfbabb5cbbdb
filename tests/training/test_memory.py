from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from errors import UserError
from model.config import DecoderConfig
from training.memory import explain_out_of_memory, peak_bytes

FLOAT = 4  # bytes


def test_a_chain_needs_two_tensors_at_once_however_long_it_is() -> None:
    def chain() -> None:
        x = torch.zeros(1000)
        for _ in range(10):
            x = x + 1  # the one before is freed

    assert peak_bytes(chain) == 2 * 1000 * FLOAT


def test_tensors_that_are_kept_add_up() -> None:
    assert peak_bytes(lambda: [torch.zeros(1000) for _ in range(10)]) == 10 * 1000 * FLOAT


def test_the_peak_stays_when_memory_is_freed() -> None:
    def up_and_down() -> None:
        torch.zeros(1000)
        torch.zeros(10)

    assert peak_bytes(up_and_down) == 1000 * FLOAT


def test_views_and_changes_in_place_need_nothing() -> None:
    x = torch.zeros(10, 100)
    assert peak_bytes(lambda: [x.view(-1), x[3:], x.mT, x.expand(5, 10, 100), x.add_(1)]) == 0
    assert peak_bytes(lambda: torch.zeros(1000).view(10, 100)[3:].mT) == 1000 * FLOAT


def test_a_view_keeps_the_whole_storage() -> None:
    def first_of_each() -> list[torch.Tensor]:
        return [torch.zeros(1000)[:1] for _ in range(3)]

    assert peak_bytes(first_of_each) == 3 * 1000 * FLOAT


def test_what_was_there_before_counts_nothing() -> None:
    x = torch.zeros(1000)
    assert peak_bytes(lambda: x.sum()) == FLOAT


def test_a_new_tensor_counts_where_an_old_one_has_just_been() -> None:
    def alternate() -> None:
        for size in (1000, 2000, 3000):
            torch.zeros(size)

    assert peak_bytes(alternate) == 3000 * FLOAT


def test_the_backward_pass_counts() -> None:
    x, direction = torch.zeros(1000, requires_grad=True), torch.ones(1000)

    def step() -> None:
        y = x.exp()  # one, saved for the backward pass
        z = y.sin()  # two
        # The gradients of y, three and, by way of its cosine, four; then that of x, when the cosine has gone.
        torch.autograd.grad(z, x, direction)

    assert peak_bytes(step) == 4 * 1000 * FLOAT


CPU = torch.device("cpu")
SHAPE = DecoderConfig(layers=4, heads=4, width=128, context=64)


@pytest.mark.parametrize("allocate", [lambda: torch.empty(2**50), lambda: np.empty(2**50), lambda: bytearray(2**50)])
def test_where_memory_is_short_it_is_said_what_to_turn_down(allocate: Callable[[], object]) -> None:
    expected = (
        r"out of memory: expected 786,432 weights in the blocks \(0\.0 GiB at least in training\) and steps of 3,072 "
        r"characters at once to fit in the [\d.]+ GiB of cpu, got: .*; try a smaller model\.width, .*micro_batch_size"
    )
    with pytest.raises(UserError, match=expected) as error, explain_out_of_memory(SHAPE, 3072, CPU):
        allocate()
    assert "\n" not in str(error.value)


def test_a_model_that_cannot_fit_is_refused_before_it_is_made() -> None:
    told = explain_out_of_memory(replace(SHAPE, width=2**30), 3072, CPU)
    with pytest.raises(UserError, match=r"model: expected one that fits in the .* GiB of cpu, got 5\d,\d{3},"), told:
        pytest.fail("went on")


def test_other_errors_keep_their_own_words() -> None:
    with pytest.raises(RuntimeError, match="size") as error, explain_out_of_memory(SHAPE, 3072, CPU):
        torch.zeros(2) @ torch.zeros(3)
    assert not isinstance(error.value, UserError)
