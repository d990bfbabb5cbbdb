import pytest
import torch
from torch import Tensor, nn

from model.attention import MultiHeadAttention, SingleHeadAttention
from model.attention_pooling import AttentionPooling
from model.config import ScoringKind
from model.scoring import make_scoring
from tests.model.helpers import H, of_each_scoring, random


@pytest.mark.parametrize("bias", [False, True])
@of_each_scoring
def test_multi_head_is_its_heads_one_by_one_concatenated_and_projected(kind: ScoringKind, bias: bool) -> None:
    C = 12
    together = MultiHeadAttention(C, H, bias, AttentionPooling(make_scoring(kind, H, C // H))).double()
    mean = kind is ScoringKind.mean
    inputs = together.value if mean else together.query_key_value
    if bias:
        nn.init.zeros_(inputs.bias)  # single heads have none there
    x = random(2, 7, C)
    matrices = dict(zip(("value",) if mean else ("query", "key", "value"), inputs.weight.split(C), strict=True))
    heads = []
    for h in range(H):
        alone = AttentionPooling(make_scoring(kind, 1, C // H))
        head = SingleHeadAttention(C, C // H, alone).double()
        state = {f"{name}.weight": matrix.view(H, C // H, C)[h] for name, matrix in matrices.items()}
        state |= {name: p[h : h + 1] for name, p in together.named_parameters() if name.startswith("pooling")}
        head.load_state_dict(state)
        torch.testing.assert_close(together.weights(x)[:, h], head.weights(x)[:, 0])
        heads.append(head(x))
    torch.testing.assert_close(together(x), together.output(torch.cat(heads, dim=-1)))


@pytest.mark.parametrize("valid_lens", [None, torch.tensor([3, 5])])
def test_multi_head_agrees_with_pytorch(valid_lens: Tensor | None) -> None:
    C, T = 12, 7
    ours, theirs = MultiHeadAttention(C, H, bias=True).double(), nn.MultiheadAttention(C, H, batch_first=True)
    theirs = theirs.double()
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.query_key_value.weight,
            "in_proj_bias": ours.query_key_value.bias,
            "out_proj.weight": ours.output.weight,
            "out_proj.bias": ours.output.bias,
        }
    )
    x = random(2, T, C)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    padding = None if valid_lens is None else torch.arange(T) >= valid_lens[:, None]
    output, weights = theirs(x, x, x, key_padding_mask=padding, attn_mask=future, average_attn_weights=False)
    torch.testing.assert_close(ours(x, valid_lens), output)
    torch.testing.assert_close(ours.weights(x, valid_lens), weights)


@pytest.mark.parametrize("bias", [False, True])
@of_each_scoring
def test_value_norms_are_of_what_each_value_adds_to_the_stream(kind: ScoringKind, bias: bool) -> None:
    C, D, x = 12, 4, random(2, 7, 12)
    attention = MultiHeadAttention(C, H, bias, AttentionPooling(make_scoring(kind, H, D))).double()
    value = attention.projections(x)[2]
    for h in range(H):
        alone = torch.zeros_like(value)
        alone[:, h] = value[:, h]
        added = attention.combine(alone) - attention.combine(torch.zeros_like(value))  # without bias
        torch.testing.assert_close(attention.value_norms(value)[:, h], added.norm(dim=-1))
    single = SingleHeadAttention(C, 5, AttentionPooling(make_scoring(kind, 1, 5))).double()
    torch.testing.assert_close(single.value_norms(single.projections(x)[2])[:, 0], single.value(x).norm(dim=-1))


def test_a_single_head_has_no_bias_and_no_output_projection() -> None:
    head = SingleHeadAttention(12, head_size=5)
    assert {name: tuple(p.shape) for name, p in head.named_parameters()} == dict.fromkeys(
        ("key.weight", "query.weight", "value.weight"), (5, 12)
    )
    assert head(torch.randn(2, 7, 12)).shape == (2, 7, 5)
    assert head.weights(torch.randn(2, 7, 12)).shape == (2, 1, 7, 7)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="expected heads to divide the width of 10, got 3"):
        MultiHeadAttention(10, 3)
