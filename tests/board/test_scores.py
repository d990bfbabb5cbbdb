"""Parts of scores against the decoder's own scores, and their positional parts against a decoder's derivative."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from attention_tab.scores import ARRAYS, LayerScores
from board.capture import capture
from board.scores import scores_of
from model.config import PositionKind
from model.decoder import Block
from model.scoring import Additive
from tests.model.helpers import of_each_scoring
from tests.training.helpers import CHARACTERS, decoder

IDS = torch.randint(len(CHARACTERS), (8,), generator=torch.Generator().manual_seed(0))
KINDS = pytest.mark.parametrize("kinds", [["multi"], ["single"], ["single", "multi"]])


def parts(layer: LayerScores, scoring: str) -> np.ndarray:
    """The part of each column in each score: (H, Q, K, D)."""
    query, key = layer.query[:, :, None], layer.key[:, None]
    if layer.vector is not None:
        return layer.vector[:, None, None] * np.tanh(query + key)
    return -layer.scale * (query - key) ** 2 / 2 if scoring == "distance" else layer.scale * query * key


@KINDS
@pytest.mark.parametrize("position", PositionKind)
@of_each_scoring
def test_the_parts_of_a_score_sum_to_it_but_for_a_constant_of_the_query(
    kind: str, position: str, kinds: list[str]
) -> None:
    model = decoder(attention=kinds, scoring=kind, position=position, dropout=0.5, bias=True).double()
    scores, captured = scores_of(model, IDS), capture(model, IDS[None])
    assert (scores.scoring, scores.position, scores.heads) == (kind, position, [len(each[0]) for each in captured.maps])
    assert len(scores.layers) == (0 if kind == "mean" else 2)
    for layer, block, maps, x in zip(scores.layers, model.blocks, captured.maps, captured.streams, strict=False):
        sums = parts(layer, kind).sum(-1)
        query, key, _ = block.attention.projections(block.attention_input(x))
        pooling = block.attention.pooling
        expected = pooling.scoring.scores(*pooling.rotated(query, key))[0].detach().numpy()
        constant = (layer.query**2).sum(-1, keepdims=True) * layer.scale / 2 if kind == "distance" else 0.0
        np.testing.assert_allclose(sums + constant, expected, atol=1e-12)
        masked = torch.from_numpy(sums).masked_fill(torch.ones(8, 8, dtype=torch.bool).triu(1), -math.inf)
        np.testing.assert_allclose(masked.softmax(-1), maps[0], atol=1e-12)


@KINDS
@pytest.mark.parametrize("scoring", ["dot", "bilinear"])
@pytest.mark.parametrize(("position", "shift"), [("sinusoidal", False), ("learned", True)])
def test_the_positional_part_is_what_an_added_encoding_makes_of_queries_and_keys(
    position: str, shift: bool, scoring: str, kinds: list[str]
) -> None:
    model = decoder(attention=kinds, scoring=scoring, position=position, token_shift=shift, bias=True).double()
    for block in model.blocks:
        for name, parameter in block.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter)  # which is content
    assert model.position is not None
    table, streams = model.position.table.detach()[:8], capture(model, IDS[None]).streams
    for layer, block, x in zip(scores_of(model, IDS).layers, model.blocks, streams, strict=False):
        deviation = (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
        whole, content = factors(block, x, deviation), factors(block, x - table, deviation)
        expected = [*whole, *(both - one for both, one in zip(whole, content, strict=True))]
        for name, part in zip(ARRAYS, expected, strict=False):
            np.testing.assert_allclose(getattr(layer, name), part, atol=1e-12, err_msg=name)


def factors(block: Block, stream: Tensor, deviation: Tensor) -> list[np.ndarray]:
    """Queries and keys (H, T, D) of a stream (1, T, C), normalized by a given deviation."""
    attention, normed = block.attention, (stream - stream.mean(-1, keepdim=True)) / deviation
    query, key, _ = attention.projections(block.attention_shift(normed) if block.attention_shift else normed)
    pair = attention.pooling.scoring.factors(query, key)  # type: ignore[operator]  # an inner product has them
    return [each[0].detach().numpy() for each in pair]


def test_other_scores_have_no_positional_part() -> None:
    choices: list[dict[str, Any]] = [{"scoring": "distance"}, {"scoring": "additive"}, {"position": "rotary"}]
    for choice in choices:
        for layer in scores_of(decoder(**choice), IDS).layers:
            assert layer.query_position is layer.key_position is None


def test_scores_stay_what_they_were_while_training_goes_on() -> None:
    model = decoder(scoring="additive")
    scoring = model.blocks[0].attention.pooling.scoring
    assert isinstance(scoring, Additive)
    found, before = scores_of(model, IDS).layers[0].vector, scoring.vector.detach().clone()
    with torch.no_grad():
        scoring.vector.zero_()
    np.testing.assert_array_equal(found, before)
