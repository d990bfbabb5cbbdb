import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.batches import NO_TARGET, Batch, Batches, Lines, Windows

IDS = np.arange(1000, dtype=np.uint16)
BREAK = 0
# Lines of 1 to 5 characters; the thousands of a character's id are the number of its line.
LINES = [
    [1000 * n + position for position in range(1, 1 + length)]
    for n, length in enumerate([3, 1, 5, 2, 5, 4, 1], start=1)
]
LINE_IDS = np.array([BREAK, *(id_ for line in LINES for id_ in (*line, BREAK))], dtype=np.uint16)


def lines(context: int = 6) -> Lines:
    return Lines(LINE_IDS, context, BREAK)


def predicted(batch: Batch) -> list[list[int]]:
    """The targets of each sequence, without padding."""
    return [[target for target in row if target != NO_TARGET] for row in batch.targets.tolist()]


@pytest.mark.parametrize("sequences", [Windows(IDS, 16), lines()], ids=["windows", "lines"])
def test_a_batch_depends_on_seed_and_step_alone(sequences: Windows | Lines) -> None:
    forwards, backwards = (Batches(sequences, 4, seed=1) for _ in range(2))
    first = [forwards(step) for step in range(40)]
    for step in reversed(range(40)):
        again = backwards(step)
        assert torch.equal(first[step].inputs, again.inputs)
        assert torch.equal(first[step].targets, again.targets)
    assert predicted(first[0]) != predicted(Batches(sequences, 4, seed=2)(0))
    assert predicted(first[0]) != predicted(first[1])


def test_a_target_is_the_character_after_its_input() -> None:
    batch = Batches(Windows(IDS, 16), 8, seed=0)(3)
    assert batch.inputs.shape == batch.targets.shape == (8, 16)
    assert batch.inputs.dtype == batch.targets.dtype == torch.int64
    assert batch.valid_lens is None
    assert batch.characters == 8 * 16
    torch.testing.assert_close(batch.targets, (batch.inputs + 1) % 1000)


@given(st.integers(5, 200), st.integers(1, 20), st.integers(1, 9), st.integers(0, 3))
def test_an_epoch_uses_every_character_once_but_for_less_than_a_window(
    length: int, context: int, batch_size: int, epoch: int
) -> None:
    context = min(context, length - 1)
    windows = Windows(np.arange(length), context)
    batches = Batches(windows, batch_size, seed=5)
    first, last = epoch * len(windows), (epoch + 1) * len(windows)  # windows of this epoch
    starts = np.concatenate([batches.chosen(step) for step in range(last // batch_size + 1)])[first:last]
    used = (starts[:, None] + np.arange(context)).ravel() % length
    assert len(set(used)) == len(used)
    assert length - len(used) < context


def test_windows_are_shuffled_and_cut_elsewhere_each_epoch() -> None:
    batches = Batches(Windows(np.arange(1024), 16), 64, seed=0)  # a step is an epoch
    epochs = [batches.chosen(step) for step in range(8)]
    assert all(len(set(np.diff(starts))) > 2 for starts in epochs)  # in order: one step, and one back to the start
    assert len({starts[0] % 16 for starts in epochs}) > 1


def test_text_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least context = 16 characters, got 15"):
        Batches(Windows(IDS[:15], 16), 4, seed=0)


@given(st.integers(2, 300), st.integers(1, 20), st.integers(1, 7), st.data())
def test_sequential_windows_score_each_character_but_the_first_once(
    length: int, context: int, batch_size: int, data: st.DataObject
) -> None:
    stride = data.draw(st.none() | st.integers(1, context))
    batches = list(Windows(np.arange(length, dtype=np.uint16), context).sequential(batch_size, stride))
    targets = torch.cat([batch.targets.flatten() for batch in batches])
    assert targets[targets != NO_TARGET].tolist() == list(range(1, length))
    assert sum(batch.characters for batch in batches) == length - 1
    for batch in batches:
        assert torch.equal((batch.inputs + 1)[batch.targets != NO_TARGET], batch.targets[batch.targets != NO_TARGET])
        assert torch.equal(batch.inputs.diff(), torch.ones_like(batch.inputs.diff()))
        assert batch.inputs.shape[0] <= batch_size
        assert batch.inputs.shape[1] <= context
        if stride:  # all of the past that a stride promises, or the whole text's
            past = torch.arange(1, batch.inputs.shape[1] + 1).expand_as(batch.inputs)[batch.targets != NO_TARGET]
            scored = batch.targets[batch.targets != NO_TARGET]
            assert (past >= torch.minimum(scored, torch.tensor(context - stride + 1))).all()


def test_a_line_is_read_from_the_break_before_it_and_predicts_the_break_after_it() -> None:
    batch = lines().batch(np.array([1, 0, 2]))
    assert batch.inputs.tolist() == [
        [BREAK, 2001, BREAK, BREAK, BREAK, BREAK],
        [BREAK, 1001, 1002, 1003, BREAK, BREAK],
        [BREAK, 3001, 3002, 3003, 3004, 3005],
    ]
    assert predicted(batch) == [[2001, BREAK], [1001, 1002, 1003, BREAK], [3001, 3002, 3003, 3004, 3005, BREAK]]
    assert batch.valid_lens is not None
    assert batch.valid_lens.tolist() == [2, 4, 6]
    assert batch.characters == 12
    assert lines().batch(np.array([2, 4])).valid_lens is None  # no padding


def test_a_line_longer_than_the_context_has_no_end() -> None:
    batch = lines(context=3).batch(np.array([0, 1]))
    assert batch.inputs.tolist() == [[BREAK, 1001, 1002], [BREAK, 2001, BREAK]]
    assert predicted(batch) == [[1001, 1002, 1003], [2001, BREAK]]


@given(st.integers(1, 9), st.integers(0, 3))
def test_an_epoch_is_every_line_once(batch_size: int, epoch: int) -> None:
    batches = Batches(lines(), batch_size, seed=5)
    first, last = epoch * len(LINES), (epoch + 1) * len(LINES)
    read = [line for step in range(last // batch_size + 1) for line in predicted(batches(step))]
    assert sorted(read[first:last]) == sorted([*line, BREAK] for line in LINES)


@given(st.integers(1, 9))
def test_a_batch_can_be_split_and_put_together(size: int) -> None:
    whole = lines().batch(np.arange(7))
    parts = list(whole.split(size))
    assert [row for part in parts for row in predicted(part)] == predicted(whole)
    assert sum(part.characters for part in parts) == whole.characters
    assert all(part.whole == whole.characters for part in parts)
    assert all(len(part.inputs) <= size for part in parts)
    assert all(part.inputs.shape[1] == max(map(len, predicted(part))) for part in parts)


@pytest.mark.parametrize("sequences", [Windows(IDS, 16), lines()], ids=["windows", "lines"])
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 40))
def test_the_batches_of_all_ranks_are_together_the_global_batch(
    sequences: Windows | Lines, batch_size: int, world_size: int, step: int
) -> None:
    world_size = min(world_size, batch_size)
    whole = Batches(sequences, batch_size, seed=3)(step)
    found = [Batches(sequences, batch_size, 3, rank, world_size)(step) for rank in range(world_size)]
    assert [row for part in found for row in predicted(part)] == predicted(whole)
    assert {part.whole for part in found} == {whole.characters}
    sizes = [len(part.inputs) for part in found]
    assert max(sizes) - min(sizes) <= 1


def test_the_seed_of_a_micro_batch_depends_on_seed_step_and_position_alone() -> None:
    alone = Batches(Windows(IDS, 16), 12, seed=3)
    seeds = [[micro.seed for micro in alone(step).split(3)] for step in range(9)]
    drawn = [seed for each in seeds for seed in each]
    assert len(set(drawn)) == 9 * 4
    ranks = [Batches(Windows(IDS, 16), 12, 3, rank, 2) for rank in range(2)]
    assert [[micro.seed for batches in ranks for micro in batches(step).split(3)] for step in range(9)] == seeds
    other = Batches(Windows(IDS, 16), 12, seed=4)
    assert not set(drawn) & {micro.seed for step in range(9) for micro in other(step).split(3)}


@pytest.mark.parametrize("largest", [200, 40_000])
def test_windows_of_a_text_on_a_gpu_are_the_same_unless_it_is_large(
    largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = np.random.default_rng(0).integers(largest, size=1000).astype(np.uint8 if largest < 256 else np.uint16)
    host = Windows(ids, 7)
    # The meta device stands for a GPU: tensors there have types and shapes, but no values.
    sent = host.on(torch.device("meta")).resident
    assert sent is not None
    assert (sent.dtype, sent.shape) == (torch.uint8 if largest < 256 else torch.int32, ids.shape)
    resident = Windows(ids, 7, torch.from_numpy(ids.astype(np.uint8 if largest < 256 else np.int32)))
    for step in range(40):
        expected, found = Batches(host, 5, seed=3)(step), Batches(resident, 5, seed=3)(step)
        assert found.inputs.dtype == found.targets.dtype == torch.int64
        assert torch.equal(found.inputs, expected.inputs)
        assert torch.equal(found.targets, expected.targets)
    assert host.on(torch.device("cpu")) is host
    monkeypatch.setattr("data.batches.LARGEST_RESIDENT", sent.nbytes - 1)
    assert host.on(torch.device("meta")) is host
