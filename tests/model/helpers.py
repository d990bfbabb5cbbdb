"""Numbers that tests of attention share."""

import pytest
import torch
from torch import Tensor

from model.config import ScoringKind

H = 3
of_each_scoring = pytest.mark.parametrize("kind", ScoringKind)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
