"""The textbooks' worked examples, set up once for the tests that hold them and for the pictures that show them."""

import numpy as np
import torch
from torch import Tensor, nn

from model.attention import MultiHeadAttention, SingleHeadAttention
from model.attention_pooling import AttentionPooling
from model.scoring import DotProduct


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64, without a trace in the global generator."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# Zhang et al. 2023, Dive into Deep Learning, section 11.3: two texts with one query and ten keys each, of which the
# first two and the first six are real. The second axis is that of heads, which the book does not have.
LENGTHS = torch.tensor([2, 6])
KEY_SIZE = 2
OTHER_QUERY_SIZE = 20  # where queries need not be of the size of keys
HIDDEN = 8  # of additive attention


def queries_keys_values(query_size: int = KEY_SIZE) -> tuple[Tensor, Tensor, Tensor]:
    """(2, 1, 1, query_size), (2, 1, 10, KEY_SIZE) and (2, 1, 10, 4)."""
    return normal(2, 1, 1, query_size, seed=1), normal(2, 1, 10, KEY_SIZE, seed=2), normal(2, 1, 10, 4, seed=3)


def hidden_projections() -> tuple[nn.Linear, nn.Linear]:
    """Additive attention's W_q and W_k, as the projections that they are in this project."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        query, key = (nn.Linear(size, HIDDEN, bias=False, dtype=torch.float64) for size in (OTHER_QUERY_SIZE, KEY_SIZE))
    return query, key


def two_heads(pooling: AttentionPooling) -> tuple[MultiHeadAttention, Tensor]:
    """Two heads of size 4 with six inputs (1, 6, 8): Prince 2023, Understanding Deep Learning, notebook 12.1.

    Its numbers come from NumPy's older generator; it keeps inputs as columns, which are rows here.
    """
    x = torch.from_numpy(np.random.RandomState(3).normal(size=(8, 6))).T[None]
    draw = np.random.RandomState(0).normal
    heads = [(draw(size=(3, 4, 8)), draw(size=(3, 4))) for _ in range(2)]  # query, key and value: weights, then biases
    weights, biases = (np.stack(parts, axis=1) for parts in zip(*heads, strict=True))  # (3, H, D, C) and (3, H, D)
    block = MultiHeadAttention(width=8, heads=2, bias=True, pooling=pooling).double()
    state = {
        "query_key_value.weight": weights.reshape(24, 8),
        "query_key_value.bias": biases.reshape(24),
        "output.weight": draw(size=(8, 8)),
        "output.bias": np.zeros(8),
    }
    block.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    return block, x


def lecture_head(scale: float | None) -> tuple[SingleHeadAttention, Tensor]:
    """A head of size 16 and its input (4, 8, 32), drawn as in Karpathy's lecture "Let's build GPT"."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1337)
        x = torch.randn(4, 8, 32)
        return SingleHeadAttention(32, 16, AttentionPooling(DotProduct(scale))), x  # draws key, query, value
