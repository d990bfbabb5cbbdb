import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.batches import Batches, in_order

IDS = np.arange(1000, dtype=np.uint16)


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    forwards, backwards = (Batches(IDS, 4, 16, seed=1) for _ in range(2))
    first = [forwards(step) for step in range(40)]
    for step in reversed(range(40)):
        for left, right in zip(first[step], backwards(step), strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=0)
    assert not torch.equal(first[0][0], Batches(IDS, 4, 16, seed=2)(0)[0])
    assert not torch.equal(first[0][0], first[1][0])


def test_a_target_is_the_character_after_its_input() -> None:
    inputs, targets = Batches(IDS, 8, 16, seed=0)(3)
    assert inputs.shape == targets.shape == (8, 16)
    assert inputs.dtype == targets.dtype == torch.int64
    torch.testing.assert_close(targets, (inputs + 1) % 1000)


@given(st.integers(5, 200), st.integers(1, 20), st.integers(1, 9), st.integers(0, 3))
def test_an_epoch_uses_every_character_once_but_for_less_than_a_window(
    length: int, context: int, batch_size: int, epoch: int
) -> None:
    context = min(context, length - 1)
    batches = Batches(np.arange(length), batch_size, context, seed=5)
    first, last = epoch * batches.windows, (epoch + 1) * batches.windows  # windows of this epoch
    starts = np.concatenate([batches.starts(step) for step in range(last // batch_size + 1)])[first:last]
    used = (starts[:, None] + np.arange(context)).ravel() % length
    assert len(set(used)) == len(used)
    assert length - len(used) < context


def test_windows_are_shuffled_and_cut_elsewhere_each_epoch() -> None:
    batches = Batches(np.arange(1024), 64, 16, seed=0)  # a step is an epoch
    epochs = [batches.starts(step) for step in range(8)]
    assert all(len(set(np.diff(starts))) > 2 for starts in epochs)  # in order: one step, and one back to the start
    assert len({starts[0] % 16 for starts in epochs}) > 1


def test_text_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(ValueError, match="at least context"):
        Batches(IDS[:16], 4, 16, seed=0)


@given(st.integers(2, 300), st.integers(1, 20), st.integers(1, 7))
def test_reading_in_order_scores_each_character_but_the_first_once(length: int, context: int, batch_size: int) -> None:
    pairs = list(in_order(np.arange(length, dtype=np.uint16), batch_size, context))
    assert torch.cat([targets.flatten() for _, targets in pairs]).tolist() == list(range(1, length))
    for inputs, targets in pairs:
        torch.testing.assert_close(inputs + 1, targets)
        assert inputs.shape[0] <= batch_size
        assert inputs.shape[1] <= context
