import torch

from model.capture import attention_maps
from model.config import AttentionKind, DecoderConfig
from model.decoder import Decoder

KINDS = [AttentionKind.multi, AttentionKind.single]
MODEL = Decoder(DecoderConfig(layers=2, heads=3, width=12, context=10, dropout=0.5, attention=KINDS), 7)
IDS = torch.tensor([1, 2, 3, 1, 2, 3])


def test_every_layer_shows_its_heads_and_every_row_its_past() -> None:
    maps = attention_maps(MODEL, IDS)
    assert [tuple(layer.shape) for layer in maps] == [(3, 6, 6), (1, 6, 6)]
    for layer in maps:
        torch.testing.assert_close(layer.sum(-1), torch.ones(layer.shape[:2]))
        assert torch.equal(layer, layer.tril())


def test_the_maps_are_those_that_the_forward_pass_applies() -> None:
    MODEL.eval()
    block = MODEL.blocks[0]
    inside = block.attention_norm(MODEL.embed(IDS[None]))
    value = block.attention._split(inside)[2]
    applied = (attention_maps(MODEL, IDS)[0] @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(block.attention.output(applied), block.attention(inside))  # type: ignore[operator]


def test_looking_changes_nothing() -> None:
    MODEL.train()
    state = torch.get_rng_state()
    assert not any(layer.requires_grad for layer in attention_maps(MODEL, IDS))
    assert torch.equal(torch.get_rng_state(), state)
    assert MODEL.training
