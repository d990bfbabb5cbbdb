import torch

from board.capture import attention_maps
from board.head_metrics import head_metrics, repeated_string
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
    value = block.attention.projections(inside)[2]
    applied = (attention_maps(MODEL, IDS)[0] @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(block.attention.output(applied), block.attention(inside))  # type: ignore[operator]


def test_looking_changes_nothing() -> None:
    MODEL.train()
    state = torch.get_rng_state()
    assert not any(layer.requires_grad for layer in attention_maps(MODEL, IDS))
    assert torch.equal(torch.get_rng_state(), state)
    assert MODEL.training


def test_metrics_of_heads_made_by_hand_are_what_they_should_be() -> None:
    T = 6
    diagonal = torch.eye(T)
    previous = torch.eye(T).roll(-1, 1).tril()
    previous[0, 0] = 1
    first = torch.zeros(T, T)
    first[:, 0] = 1
    even = torch.ones(T, T).tril() / torch.arange(1, T + 1)[:, None]
    following = torch.eye(T)  # of the string of three read twice: what came after, at its first reading
    following[3:] = 0
    following[3:, 1:4] = torch.eye(3)
    maps = torch.stack([diagonal, previous, first, even, following])
    found = head_metrics(maps, maps)
    wide = torch.arange(2, T + 1).log().mean().item()
    expected = {
        "entropy": [0, 0, 0, wide, 0],
        "distance": [0, 5 / 6, 2.5, 1.25, 1],
        "previous": [0, 1, 0.2, (torch.arange(2, T + 1).reciprocal()).mean().item(), 0],
        "first": [0, 0.2, 1, (torch.arange(2, T + 1).reciprocal()).mean().item(), 0],
        "induction": [0, 0, 0, (torch.arange(4, T + 1).reciprocal()).mean().item(), 1],
    }
    for name, values in expected.items():
        torch.testing.assert_close(found[name], torch.tensor(values, dtype=torch.float32), msg=name)


def test_metrics_are_not_rounded_where_training_is() -> None:
    maps = (0.8 * torch.eye(256).roll(-1, 1) + 0.2 * torch.eye(256).roll(-2, 1)).tril()[None]
    exact = head_metrics(maps, maps)
    with torch.autocast("cpu", torch.bfloat16):
        found = head_metrics(maps, maps)
    for name, values in exact.items():
        assert torch.equal(found[name], values), name


def test_induction_is_the_only_thing_that_predicts_the_repeated_string() -> None:
    string = repeated_string(MODEL)
    assert len(string) == 10  # the context
    assert torch.equal(string[:5], string[5:])
    assert len(string[:5].unique()) == 5
    assert torch.equal(string, repeated_string(MODEL))
    few = Decoder(DecoderConfig(layers=1, heads=1, width=4, context=64), 3)
    assert repeated_string(few).tolist() == repeated_string(few)[:3].tolist() * 2
