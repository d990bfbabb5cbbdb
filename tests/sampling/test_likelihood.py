from itertools import product

import pytest

from sampling.completion import complete_stepwise
from sampling.likelihood import log_probabilities, windows
from tests.sampling.helpers import CONTEXT, MODEL, decoder


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


def test_windows_cover_a_text_and_overlap_by_less_than_half_a_context() -> None:
    assert windows(5, 6) == [slice(0, 5)]
    assert windows(6, 6) == [slice(0, 6)]
    assert windows(11, 6) == [slice(0, 6), slice(4, 10), slice(8, 11)]
    assert windows(3, 1) == [slice(0, 1), slice(1, 2), slice(2, 3)]
