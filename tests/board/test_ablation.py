"""Ablation against a decoder whose head is really off."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from board import ablation as board_ablation
from board.ablation import ablation
from model.decoder import Decoder
from tests.model.helpers import of_each_scoring
from tests.training.helpers import CHARACTERS, decoder

IDS = torch.randint(len(CHARACTERS), (3, 8), generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([8, 5, 1])


def loss_without(model: Decoder, ids: Tensor, lengths: Tensor, layer: int, head: int) -> Tensor:
    """Mean loss of `model` when the pooled values of one head are zeroed by a hook."""

    def zero(_: object, __: object, heads: Tensor) -> Tensor:
        heads[:, head] = 0
        return heads

    hook = model.blocks[layer].attention.pooling.register_forward_hook(zero)
    try:
        return mean_loss(model, ids, lengths)
    finally:
        hook.remove()


def mean_loss(model: Decoder, ids: Tensor, lengths: Tensor) -> Tensor:
    """Each sequence by itself, without padding."""
    texts = [row[:length][None] for row, length in zip(ids, lengths.tolist(), strict=True)]
    with torch.no_grad():
        losses = [F.cross_entropy(model(text)[0, :-1], text[0, 1:], reduction="sum") for text in texts]
    return torch.stack(losses).sum() / (lengths - 1).sum()


@pytest.mark.parametrize("elements", [2**22, 2**11, 1])  # in one pass, in several, of one head each
@pytest.mark.parametrize("kinds", [["multi"], ["single"], ["multi", "single", "multi"]])
@of_each_scoring
def test_an_ablation_is_the_rise_of_the_loss_with_the_heads_output_zeroed(
    kind: str, kinds: list[str], elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_ablation, "ELEMENTS", elements)
    model = decoder(attention=kinds, scoring=kind, layers=3, dropout=0.5, bias=True).double().eval()
    whole = mean_loss(model, IDS, LENGTHS)
    heads = [(layer, head) for layer, block in enumerate(model.blocks) for head in range(heads_of(block))]
    expected = torch.stack([loss_without(model, IDS, LENGTHS, *each) - whole for each in heads])
    assert expected.abs().min() > 1e-4
    model.train()  # dropout does not matter
    torch.testing.assert_close(ablation(model, IDS, LENGTHS), expected)


def heads_of(block: Any) -> int:
    return getattr(block.attention, "heads", 1)


def test_an_ablation_is_exact_where_training_rounds_and_there_is_none_without_a_character_to_predict() -> None:
    model = decoder()
    exact = ablation(model, IDS)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ablation(model, IDS), exact)
    assert ablation(model, IDS[:, :1]).isnan().all()
