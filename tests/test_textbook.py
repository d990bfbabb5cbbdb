"""Textbooks' printed numbers, figures and derivations, held by this project's attention; docs/textbook.md tells it.

Textbooks write queries as (batch, queries, size). Here an axis of heads comes second, of length one if they have none.
"""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from docs.textbook_examples import (
    HIDDEN,
    KEY_SIZE,
    LENGTHS,
    OTHER_QUERY_SIZE,
    hidden_projections,
    lecture_head,
    normal,
    queries_keys_values,
    two_heads,
)
from model.attention import MultiHeadAttention
from model.attention_pooling import AttentionPooling, masked_softmax
from model.config import DecoderConfig, PositionKind, ScoringKind
from model.decoder import Decoder
from model.position import LearnedPosition, SinusoidalPosition, angles, cosine_sine, rotate, sinusoidal_encoding
from model.scoring import Additive, Bilinear, Distance, DotProduct, Mean

# Masked softmax: Zhang et al. 2023, Dive into Deep Learning, section 11.3.2.1.
# The book's scores were drawn without a seed, so only what follows from the weights it prints can be held.

PRINTED = [
    (
        torch.tensor([2, 3]),
        torch.tensor(
            [
                [[0.4448, 0.5552, 0.0000, 0.0000], [0.4032, 0.5968, 0.0000, 0.0000]],
                [[0.2795, 0.2805, 0.4400, 0.0000], [0.2798, 0.3092, 0.4110, 0.0000]],
            ]
        ),
    ),
    (
        torch.tensor([[1, 3], [2, 4]]),
        torch.tensor(
            [
                [[1.0000, 0.0000, 0.0000, 0.0000], [0.4109, 0.2794, 0.3097, 0.0000]],
                [[0.3960, 0.6040, 0.0000, 0.0000], [0.2557, 0.1833, 0.2420, 0.3190]],
            ]
        ),
    ),
]
of_each_printed_table = pytest.mark.parametrize(("valid_lens", "printed"), PRINTED, ids=["by text", "by query"])
# Four decimals, of which a row's sum may be off by one.
assert_close_as_printed = partial(torch.testing.assert_close, rtol=0, atol=1.01e-4)


@of_each_printed_table
def test_logarithms_of_the_printed_weights_give_them_back_whatever_is_hidden(
    valid_lens: Tensor, printed: Tensor
) -> None:
    weights = masked_softmax(torch.where(printed == 0, 1e6, printed.log()), valid_lens)
    assert_close_as_printed(weights, printed)
    assert torch.equal(weights == 0, printed == 0)


@of_each_printed_table
def test_hiding_one_more_key_of_the_printed_tables_leaves_the_others_in_proportion(
    valid_lens: Tensor, printed: Tensor
) -> None:
    lens = (valid_lens - 1).clamp(min=1)
    seen = printed * (torch.arange(4) < lens.view(2, -1, 1))
    weights = masked_softmax(printed.log(), lens)
    assert_close_as_printed(weights, seen / seen.sum(-1, keepdim=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_masked_softmax_hides_where_the_books_large_negative_number_would_not(dtype: torch.dtype) -> None:
    lowest = -6e4 if dtype == torch.float16 else -2e6
    weights = masked_softmax(torch.full((3, 1, 4), lowest, dtype=dtype), torch.tensor([0, 2, 4]))
    assert weights[:, 0].tolist() == [[0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25]]


# Scoring functions: Zhang et al. 2023, Dive into Deep Learning, section 11.3 and its exercises 1 and 2.
# Its exercise 3, what they cost, is measured in bench/scaling.py.


def check_pooling_of_the_example(pooling: AttentionPooling, query: Tensor, key: Tensor, value: Tensor) -> None:
    """One result for each text, from the keys within its length alone, and no dropout."""
    pooled = pooling.eval()(query, key, value, LENGTHS)
    weights = pooling.weights(query, key, LENGTHS)
    assert pooled.shape == (2, 1, 1, 4)
    assert torch.equal(weights[:, 0, 0] > 0, torch.arange(10) < LENGTHS[:, None])
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 1, 1).double())
    torch.testing.assert_close(pooled, weights @ value)


def test_scaled_dot_products_weigh_nothing_beyond_the_second_and_the_sixth_key() -> None:
    check_pooling_of_the_example(AttentionPooling(causal=False, dropout=0.5), *queries_keys_values())


def test_additive_scores_are_a_small_network_of_query_and_key() -> None:
    query, key, value = queries_keys_values(OTHER_QUERY_SIZE)
    to_query, to_key = hidden_projections()
    scoring = Additive(1, HIDDEN).double()
    hidden = (query @ to_query.weight.T + key @ to_key.weight.T).tanh()  # the one query of each text meets all keys
    scores = scoring.scores(to_query(query), to_key(key))[:, :, 0]
    torch.testing.assert_close(scores, hidden @ scoring.vector[0], rtol=1e-9, atol=0)
    pooling = AttentionPooling(scoring, causal=False, dropout=0.1)
    check_pooling_of_the_example(pooling, to_query(query), to_key(key), value)


def test_distance_attention_is_the_softmax_of_minus_half_the_squared_distances() -> None:
    query, key, value = queries_keys_values()
    pooling = AttentionPooling(Distance(scale=1), causal=False)
    distances = (query - key).square().sum(-1)[:, :, None]  # the one query of each text from all of its keys
    expected = masked_softmax(-distances / 2, LENGTHS)
    torch.testing.assert_close(pooling.weights(query, key, LENGTHS), expected)
    check_pooling_of_the_example(pooling, query, key, value)


def test_distance_attention_needs_only_the_norms_of_keys_as_one_more_column() -> None:
    query, key, _ = queries_keys_values()
    left, right = Distance().factors(query, key)
    assert torch.equal(left, torch.cat((query, torch.ones(2, 1, 1, 1)), dim=-1))
    assert torch.equal(right, torch.cat((key, -key.square().sum(-1, keepdim=True) / 2), dim=-1))


def test_distance_and_dot_product_agree_where_keys_have_one_norm() -> None:
    query, key, _ = queries_keys_values()
    key = key / key.norm(dim=-1, keepdim=True)
    by_distance, by_product = (
        AttentionPooling(kind(), causal=False).weights(query, key) for kind in (Distance, DotProduct)
    )
    torch.testing.assert_close(by_distance, by_product)


def test_bilinear_attention_scores_queries_and_keys_of_different_sizes() -> None:
    query, key, value = queries_keys_values(OTHER_QUERY_SIZE)
    scoring = Bilinear(1, OTHER_QUERY_SIZE, KEY_SIZE, scale=1).double()
    expected = torch.einsum("bhqi,hij,bhkj->bhqk", query, scoring.matrix, key)
    torch.testing.assert_close(scoring.scores(query, key), expected, rtol=1e-9, atol=0)
    check_pooling_of_the_example(AttentionPooling(scoring, causal=False), query, key, value)


def test_inner_products_divide_by_the_root_of_the_size_by_default() -> None:
    key = normal(1, 1, 3, 16)
    assert [scoring.scale_for(key) for scoring in (DotProduct(), Distance(), Bilinear(1, 20, 16))] == [1 / 4] * 3
    assert [scoring.scale_for(key) for scoring in (DotProduct(1), Distance(1), Bilinear(1, 20, 16, 1))] == [1] * 3


# Self-attention: Zhang et al. 2023, Dive into Deep Learning, section 11.6.1.


def test_self_attention_keeps_the_shape_and_sees_three_and_two_of_four_characters() -> None:
    attention = MultiHeadAttention(100, 5, pooling=AttentionPooling(causal=False, dropout=0.5)).eval()
    x, valid_lens = torch.ones(2, 4, 100), torch.tensor([3, 2])
    output, weights = attention(x, valid_lens), attention.weights(x, valid_lens)
    assert output.shape == (2, 4, 100)
    for text, length in enumerate(valid_lens.tolist()):
        # Equal inputs cannot be distinguished, so each visible one gets the same.
        row = torch.tensor([1 / length] * length + [0] * (4 - length))
        torch.testing.assert_close(weights[text], row.expand(5, 4, 4))
        torch.testing.assert_close(output[text], output[text, :1].expand(4, 100))


def test_self_attention_without_positions_follows_any_new_order_of_its_inputs() -> None:
    attention = MultiHeadAttention(12, 3, pooling=AttentionPooling(causal=False)).double()
    x, order = normal(2, 7, 12), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    torch.testing.assert_close(attention(x[:, order]), attention(x)[:, order])


# Positions: Zhang et al. 2023, Dive into Deep Learning, section 11.6.3, on 60 positions and 32 columns.
# That the table is its formula for any size is held in tests/model/test_position.py.

POSITIONS, COLUMNS = 60, 32


def test_the_sinusoidal_layer_adds_the_table_that_the_book_computes() -> None:
    angle = torch.arange(POSITIONS)[:, None] / torch.pow(10_000, torch.arange(0, COLUMNS, 2) / COLUMNS)
    table = torch.zeros(POSITIONS, COLUMNS)
    table[:, 0::2], table[:, 1::2] = angle.sin(), angle.cos()
    x = normal(2, POSITIONS, COLUMNS).float()
    # The book divides in single precision, which costs some exactness at far positions.
    torch.testing.assert_close(SinusoidalPosition(POSITIONS, COLUMNS)(x), x + table, rtol=0, atol=1e-5)


@pytest.mark.parametrize("delta", [1, 7, 40])
def test_one_rotation_of_each_pair_moves_every_row_of_the_table_by_delta(delta: int) -> None:
    table = sinusoidal_encoding(POSITIONS + delta, COLUMNS).double()
    rows, moved = table[:POSITIONS], table[delta:]
    frequency = angles(2, COLUMNS)[1]
    turn = delta * frequency
    torch.testing.assert_close(rotate(rows, cosine_sine(-turn)), moved, rtol=0, atol=1e-6)
    for j, angle in enumerate(turn.tolist()):
        c, s = math.cos(angle), math.sin(angle)
        projection = torch.tensor([[c, s], [-s, c]], dtype=torch.float64)  # the book's, the same for every row
        pair = slice(2 * j, 2 * j + 2)
        torch.testing.assert_close(rows[:, pair] @ projection.T, moved[:, pair], rtol=0, atol=1e-6)


# A learned position is exercise 2 of section 11.6 (Gehring et al. 2017, section 3.1).


def test_a_learned_position_has_gradients_for_the_positions_in_use_alone() -> None:
    position = LearnedPosition(8, 4)
    position(normal(2, 5, 4).float()).square().sum().backward()
    assert position.table.grad is not None
    assert (position.table.grad[:5] != 0).all()
    assert (position.table.grad[5:] == 0).all()


def change_by_swapping_earlier_characters(position: PositionKind, scoring: ScoringKind, layers: int = 1) -> float:
    """Largest change of the last logits of a causal decoder."""
    config = DecoderConfig(layers=layers, heads=2, width=16, context=8, position=position, scoring=scoring)
    decoder = Decoder(config, vocabulary_size=10, generator=torch.Generator().manual_seed(0)).double()
    logits = decoder(torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [3, 1, 5, 1, 4, 9, 2, 6]]))[:, -1]
    return (logits[0] - logits[1]).abs().max().item()


@pytest.mark.parametrize("scoring", ScoringKind)
@pytest.mark.parametrize("position", [PositionKind.sinusoidal, PositionKind.learned, PositionKind.rotary])
def test_positional_encodings_make_the_order_of_earlier_characters_matter(
    position: PositionKind, scoring: ScoringKind
) -> None:
    blind = position is PositionKind.rotary and scoring is ScoringKind.mean  # there are no queries and keys to rotate
    change = change_by_swapping_earlier_characters(position, scoring)
    assert change < 1e-12 if blind else change > 1e-2


@pytest.mark.parametrize("scoring", ScoringKind)
def test_without_positions_one_causal_layer_does_not_see_the_order_of_earlier_characters_but_two_do(
    scoring: ScoringKind,
) -> None:
    assert change_by_swapping_earlier_characters(PositionKind.none, scoring) < 1e-12
    assert change_by_swapping_earlier_characters(PositionKind.none, scoring, layers=2) > 1e-2


# Two heads: Prince 2023, Understanding Deep Learning, notebook 12.1 "Multihead Self-Attention".

TRUE_VALUES = torch.tensor(
    [
        [-21.207, -5.373, -20.933, -9.179, -11.319, -17.812],
        [-1.995, 7.906, -10.516, 3.452, 9.863, -7.24],
        [5.479, 1.115, 9.244, 0.453, 5.656, 7.089],
        [-7.413, -7.416, 0.363, -5.573, -6.736, -0.848],
        [-11.261, -9.937, -4.848, -8.915, -13.378, -5.761],
        [3.548, 10.036, -2.244, 1.604, 12.113, -2.557],
        [4.888, -5.814, 2.407, 3.228, -4.232, 3.71],
        [1.248, 18.894, -6.409, 3.224, 19.717, -5.629],
    ],
    dtype=torch.float64,
)  # a column for each input
ROUNDING = 5.01e-4  # of three decimals


def distance_of_each_input_from_the_true_values(pooling: AttentionPooling) -> Tensor:
    block, x = two_heads(pooling)
    return (block(x)[0].T - TRUE_VALUES).abs().amax(0)


def test_two_heads_give_the_true_values_that_the_notebook_prints() -> None:
    assert (distance_of_each_input_from_the_true_values(AttentionPooling(causal=False)) < ROUNDING).all()


def test_two_causal_heads_give_the_true_values_of_the_last_input_alone() -> None:
    distance = distance_of_each_input_from_the_true_values(AttentionPooling(causal=True))
    assert distance[-1] < ROUNDING
    assert (distance[:-1] > 100 * ROUNDING).all()


@pytest.mark.parametrize("scale", [1.0, 1 / math.sqrt(8), 2.0], ids=["none", "of all heads", "inverse"])
def test_two_heads_with_another_scale_do_not_give_the_true_values(scale: float) -> None:
    pooling = AttentionPooling(DotProduct(scale), causal=False)
    assert (distance_of_each_input_from_the_true_values(pooling) > 100 * ROUNDING).all()


# One causal head: Karpathy's lecture "Let's build GPT", as repeated in a notebook on self-attention.

LECTURE_WEIGHTS = torch.tensor(
    [
        [1.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000],
        [0.1574, 0.8426, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000],
        [0.2088, 0.1646, 0.6266, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000],
        [0.5792, 0.1187, 0.1889, 0.1131, 0.0000, 0.0000, 0.0000, 0.0000],
        [0.0294, 0.1052, 0.0469, 0.0276, 0.7909, 0.0000, 0.0000, 0.0000],
        [0.0176, 0.2689, 0.0215, 0.0089, 0.6812, 0.0019, 0.0000, 0.0000],
        [0.1691, 0.4066, 0.0438, 0.0416, 0.1048, 0.2012, 0.0329, 0.0000],
        [0.0210, 0.0843, 0.0555, 0.2297, 0.0573, 0.0709, 0.2423, 0.2391],
    ]
)


def test_the_causal_mean_weighs_all_earlier_characters_alike() -> None:
    _, x = lecture_head(scale=1.0)
    pooling, heads = AttentionPooling(Mean()), x[:, None]  # (B, 1, T, C)
    T = x.shape[1]
    masked = torch.zeros(T, T).masked_fill(torch.ones(T, T).tril() == 0, -math.inf)  # as the lecture has it
    expected = masked.softmax(-1)
    torch.testing.assert_close(pooling.weights(heads, heads), expected.expand(4, 1, T, T))
    pooled = pooling(heads, heads, heads)[:, 0]
    torch.testing.assert_close(pooled, expected @ x)
    for i in range(T):
        torch.testing.assert_close(pooled[:, i], x[:, : i + 1].mean(1))


def test_one_unscaled_head_gives_the_weights_that_the_lecture_prints() -> None:
    head, x = lecture_head(scale=1.0)
    torch.testing.assert_close(head.weights(x)[0, 0], LECTURE_WEIGHTS, rtol=0, atol=5.1e-5)
    assert head(x).shape == (4, 8, 16)


@pytest.mark.parametrize("scale", [None, 4.0], ids=["divided by the root of the size", "multiplied by it"])
def test_one_scaled_head_does_not_give_the_weights_that_the_lecture_prints(scale: float | None) -> None:
    head, x = lecture_head(scale)
    first, *others = (head.weights(x)[0, 0] - LECTURE_WEIGHTS).abs().amax(-1)
    assert first == 0  # the first character sees only itself
    assert min(others) > 0.01


@pytest.mark.parametrize(
    ("scale", "variance"), [(1.0, 16), (None, 1), (4.0, 256)], ids=["none", "divided", "multiplied"]
)
def test_scores_vary_by_the_size_of_a_head_unless_divided_by_its_root(scale: float | None, variance: float) -> None:
    query, key = normal(2, 1, 1, 2000, 16).unbind()
    assert DotProduct(scale).scores(query, key).var().item() == pytest.approx(variance, rel=0.05)
    bilinear = Bilinear(1, 16, 16, scale)
    bilinear.initialise(torch.Generator().manual_seed(0))
    assert bilinear.double().scores(query, key).var().item() == pytest.approx(variance, rel=0.2)


def test_multiplied_by_the_root_of_its_size_a_head_looks_at_hardly_more_than_one_character() -> None:
    query, key = normal(1, 1, 4000, 16, seed=1), normal(1, 1, 8, 16, seed=2)
    poolings = [AttentionPooling(DotProduct(scale), causal=False) for scale in (None, 1.0, 4.0)]
    weights = torch.stack([pooling.weights(query, key) for pooling in poolings])
    largest = weights.amax(-1).mean((1, 2, 3))
    bits = torch.special.entr(weights).sum(-1).mean((1, 2, 3)) / math.log(2)
    assert largest[0] < 0.5 < largest[1] < 0.9 < largest[2]
    assert bits[2] < 0.5 < bits[1] < 2 < bits[0] < 3  # eight keys alike would be three bits
