"""Scorings that tests of attention share."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from model.config import ScoringKind
from model.scoring import Scoring, make_scoring

H = 3
SCORINGS: dict[str, Callable[..., Scoring]] = {
    kind.value: partial(make_scoring, kind, heads=H)  # of the head size
    for kind in ScoringKind
}
of_each_scoring = pytest.mark.parametrize("make", SCORINGS.values(), ids=SCORINGS)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
