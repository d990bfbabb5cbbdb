from itertools import count, product

import pytest
import torch

from data.batches import Windows
from sampling.completion import complete_stepwise
from sampling.likelihood import log_probabilities, windows
from tests.sampling.helpers import CONTEXT, MODEL, decoder
from tests.training.helpers import CPU
from training.evaluate import evaluate


@pytest.mark.parametrize("context", [1, 2, 3, 7, CONTEXT])
@pytest.mark.parametrize("length", [1, 5, 12, 13, 40])
def test_a_text_has_the_log_probabilities_with_which_it_was_sampled(context: int, length: int) -> None:
    model = decoder(context=context).double()
    *_, (sample,) = complete_stepwise(model, [1], length)
    found = log_probabilities(model, [1, *sample.ids])
    assert found.tolist() == pytest.approx(sample.log_probabilities, abs=1e-10)


def test_the_probabilities_of_all_texts_sum_to_one() -> None:
    texts = list(product(range(7), repeat=3))
    total = sum(log_probabilities(MODEL, [1, *text]).sum().exp().item() for text in texts)
    assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("stride", [1, 3, 5, CONTEXT])
@pytest.mark.parametrize("length", [2, CONTEXT, CONTEXT + 1, 45])
def test_with_a_stride_each_id_is_scored_alone_in_the_first_window_that_reaches_it(length: int, stride: int) -> None:
    model, ids = decoder().double(), torch.randint(7, (length,), generator=torch.Generator().manual_seed(1))
    expected = []
    for i in range(1, length):  # one forward pass for each
        start = next(start for start in count(0, stride) if i <= start + CONTEXT)
        expected.append(model(ids[None, start:i])[0, -1].log_softmax(-1)[ids[i]].item())
    assert log_probabilities(model, ids.tolist(), stride).tolist() == pytest.approx(expected, abs=1e-12)
    nats = evaluate(model, Windows(ids.numpy(), CONTEXT), CPU, stride)
    assert nats == pytest.approx(-sum(expected) / len(expected), abs=1e-6)  # cross-entropy is in fp32


def test_a_stride_of_one_gives_every_id_a_whole_context() -> None:
    model, ids = decoder().double(), torch.randint(7, (40,), generator=torch.Generator().manual_seed(1))
    whole = [model(ids[None, i - CONTEXT : i])[0, -1].log_softmax(-1)[ids[i]].item() for i in range(CONTEXT, 40)]
    assert log_probabilities(model, ids.tolist(), stride=1)[CONTEXT - 1 :].tolist() == pytest.approx(whole, abs=1e-12)


def test_windows_cover_a_text_and_overlap_by_less_than_half_a_context() -> None:
    assert windows(0, 6) == []
    assert windows(5, 6) == [slice(0, 5)]
    assert windows(6, 6) == [slice(0, 6)]
    assert windows(11, 6) == [slice(0, 6), slice(4, 10), slice(8, 11)]
    assert windows(3, 1) == [slice(0, 1), slice(1, 2), slice(2, 3)]
