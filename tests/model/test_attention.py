import math

import pytest
import torch
from torch import Tensor

from model.attention import MultiHeadAttention, SingleHeadAttention, attend, attention_weights


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def test_weights_are_the_softmax_of_scaled_dot_products_of_the_past() -> None:
    query, key = random(2, 2, 3, 5, 4).unbind()
    weights = attention_weights(query, key)
    for b in range(2):
        for h in range(3):
            for i in range(5):
                scores = [math.exp(query[b, h, i] @ key[b, h, j] / math.sqrt(4)) for j in range(i + 1)]
                expected = [score / sum(scores) for score in scores] + [0.0] * (4 - i)
                torch.testing.assert_close(weights[b, h, i].tolist(), expected)


def test_the_fused_result_is_the_weights_applied_to_the_values() -> None:
    query, key, value = random(3, 2, 3, 17, 8).unbind()
    torch.testing.assert_close(attend(query, key, value), attention_weights(query, key) @ value)


def test_under_autocast_attention_on_a_cpu_stays_in_fp32() -> None:
    query, key, value = random(3, 2, 3, 17, 8, dtype=torch.bfloat16).unbind()
    with torch.autocast("cpu", torch.bfloat16):
        fused = attend(query, key, value)
    assert fused.dtype == torch.bfloat16
    exact = attend(query.float(), key.float(), value.float())
    torch.testing.assert_close(fused, exact.bfloat16(), rtol=0, atol=0)


def test_scores_of_unit_variance_inputs_have_unit_variance() -> None:
    query, key = random(2, 1, 1, 400, 64).unbind()
    weights = attention_weights(query, key)[0, 0]
    # The weights' logarithms are the scores up to a constant of each row.
    variances = [weights[i, : i + 1].log().var().item() for i in range(200, 400)]
    assert sum(variances) / len(variances) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("bias", [False, True])
def test_multi_head_is_its_heads_one_by_one_concatenated_and_projected(bias: bool) -> None:
    C, H = 12, 3
    together = MultiHeadAttention(C, H, bias=False).double()
    if bias:
        together = MultiHeadAttention(C, H, bias=True).double()
        torch.nn.init.zeros_(together.query_key_value.bias)  # single heads have none there
    x = random(2, 7, C)
    query, key, value = together.query_key_value.weight.view(3, H, C // H, C)
    heads = []
    for h in range(H):
        head = SingleHeadAttention(C, C // H).double()
        head.load_state_dict({"query.weight": query[h], "key.weight": key[h], "value.weight": value[h]})
        torch.testing.assert_close(together.weights(x)[:, h], head.weights(x)[:, 0])
        heads.append(head(x))
    torch.testing.assert_close(together(x), together.output(torch.cat(heads, dim=-1)))


def test_multi_head_agrees_with_torchs_own() -> None:
    C, H, T = 12, 3, 7
    ours, theirs = MultiHeadAttention(C, H, bias=True).double(), torch.nn.MultiheadAttention(C, H, batch_first=True)
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
    output, weights = theirs(x, x, x, attn_mask=future, average_attn_weights=False)
    torch.testing.assert_close(ours(x), output)
    torch.testing.assert_close(ours.weights(x), weights)


def test_a_single_head_has_no_bias_and_nothing_after_it() -> None:
    head = SingleHeadAttention(12, head_size=5)
    assert {name: tuple(p.shape) for name, p in head.named_parameters()} == dict.fromkeys(
        ("key.weight", "query.weight", "value.weight"), (5, 12)
    )
    assert head(torch.randn(2, 7, 12)).shape == (2, 7, 5)
    assert head.weights(torch.randn(2, 7, 12)).shape == (2, 1, 7, 7)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="expected heads to divide the width of 10, got 3"):
        MultiHeadAttention(10, 3)
