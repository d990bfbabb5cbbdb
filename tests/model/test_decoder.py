from typing import Any

import pytest
import torch
from torch.nn import functional as F

from model.config import Activation, AttentionKind, DecoderConfig, PositionKind, ScoringKind
from model.decoder import Decoder, TokenShift, inference

SINGLE, MULTI = AttentionKind.single, AttentionKind.multi
V = 11
CONFIGS: dict[str, dict[str, Any]] = {
    "multi": {},
    "single": {"attention": [SINGLE]},
    "one kind a layer": {"attention": [SINGLE, MULTI, SINGLE]},
    "odd width": {"width": 15, "heads": 3},
    "bias": {"bias": True},
    "feed-forward": {"feed_forward": 24, "activation": Activation.relu_squared},
    "token shift": {"token_shift": True, "attention": [SINGLE, MULTI, SINGLE]},
    **{f"{scoring} scoring": {"scoring": scoring, "attention": [SINGLE, MULTI, SINGLE]} for scoring in ScoringKind},
    **{f"{position} position": {"position": position} for position in PositionKind},
}


def decoder(seed: int = 0, **changes: Any) -> Decoder:
    config = DecoderConfig(**{"layers": 3, "heads": 2, "width": 16, "context": 9} | changes)
    return Decoder(config, V, torch.Generator().manual_seed(seed))


def ids(B: int, T: int) -> torch.Tensor:
    return torch.randint(V, (B, T), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
def test_future_characters_never_change_past_logits(changes: dict[str, Any]) -> None:
    model, before = decoder(**changes).double(), ids(4, 9)
    for position in range(9):
        after = before.clone()
        after[:, position] = (after[:, position] + 1) % V
        old, new = model(before), model(after)
        assert old.shape == (4, 9, V)
        torch.testing.assert_close(new[:, :position], old[:, :position], rtol=0, atol=0)
        assert not torch.isclose(new[:, position], old[:, position]).all(dim=-1).any()


@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
def test_every_parameter_learns(changes: dict[str, Any]) -> None:
    model = decoder(**changes)
    model(ids(4, 9)).logsumexp(-1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
def test_padding_does_not_change_the_logits_of_a_sequence(changes: dict[str, Any]) -> None:
    model, x, lens = decoder(**changes).double(), ids(3, 9), torch.tensor([4, 9, 1])
    together = model(x, lens)
    for i, length in enumerate(lens):
        torch.testing.assert_close(together[i, :length], model(x[i : i + 1, :length])[0])


def test_a_token_shift_is_a_causal_convolution_of_width_two_for_each_column() -> None:
    shift, x = TokenShift(16, slot=0), torch.randn(4, 9, 16)
    torch.nn.init.normal_(shift.share)
    kernel = torch.stack((shift.share, torch.ones(16)), dim=-1)[:, None]  # of the token before and of this one
    convolved = F.conv1d(F.pad(x.mT, (1, 0)), kernel, groups=16).mT
    torch.testing.assert_close(shift(x), convolved)


def test_the_activation_function_is_the_configured_one() -> None:
    x = torch.randn(5, 16)
    for activation, function in ((Activation.gelu, F.gelu), (Activation.relu_squared, lambda h: h.clamp(min=0) ** 2)):
        layer = decoder(activation=activation).blocks[0].feed_forward
        torch.testing.assert_close(layer(x), layer.output(function(layer.hidden(x))))


def test_embedding_and_encoding_are_of_comparable_size() -> None:
    model = decoder(width=128)
    everything = torch.arange(V)[None, : model.config.context]
    embedding = model.embedding(everything) * 128**0.5
    ratio = embedding.std() / (model.embed(everything) - embedding).std()
    assert 0.5 < ratio < 2


def test_initial_weights_depend_on_their_generator_alone() -> None:
    torch.manual_seed(1)
    first = decoder(seed=5)
    torch.manual_seed(2)
    again, other = decoder(seed=5), decoder(seed=6)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    assert not torch.equal(first.embedding.weight, other.embedding.weight)


def test_initial_logits_are_of_unit_size() -> None:
    logits = decoder(width=128, layers=8)(ids(8, 9))
    assert 0.5 < logits.std() < 2


def test_the_encoding_moves_with_the_decoder_but_is_not_in_its_state_dict() -> None:
    model = decoder()
    assert not any("position" in name for name in model.state_dict())
    assert model.to("meta").get_buffer("position.table").device.type == "meta"


def test_dropout_acts_in_training_only_and_inference_restores_the_mode() -> None:
    model, x = decoder(dropout=0.5), ids(2, 9)
    assert not torch.equal(model(x), model(x))
    with inference(model):
        assert torch.equal(model(x), model(x))
        assert not model(x).requires_grad
    assert model.training
    with pytest.raises(RuntimeError, match="inside"), inference(model):
        raise RuntimeError("inside")
    assert model.training


def test_token_dropout_takes_the_whole_embedding_of_a_token_from_everything_behind_it() -> None:
    torch.manual_seed(0)
    model, x = decoder(token_dropout=0.5, token_shift=True), ids(400, 9)
    rows = []
    hook = model.token_dropout.register_forward_hook(lambda _, inputs, output: rows.append((*inputs, output)))
    logits = model(x)
    hook.remove()
    [(embedded, left)] = rows
    dropped = (left == 0).all(dim=-1)
    torch.testing.assert_close(left, torch.where(dropped[..., None], 0.0, 2 * embedded))
    assert dropped.float().mean().item() == pytest.approx(0.5, abs=0.03)  # 3600 tokens: 3.6 standard deviations
    with inference(model):
        assert not torch.allclose(model(x), logits)
        assert torch.equal(model(x), decoder(token_shift=True).eval()(x))


def test_more_positions_than_the_context_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at most 9 positions, got 10"):
        decoder()(ids(1, 10))


def test_every_problem_of_a_config_is_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"model\.layers.*model\.dropout.*model\.attention.*model\.heads") as error:
        decoder(layers=0, dropout=1.0, heads=3, attention=3 * [MULTI])
    assert str(error.value).count(";") == 3


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"scoring": ScoringKind.mean, "attention_dropout": 0.1},
            "model.attention_dropout: expected 0 with .* got 0.1",
        ),
        ({"position": PositionKind.rotary, "attention": []}, "model.attention: expected one kind, two, .*, got 0"),
        ({"position": PositionKind.rotary, "heads": 16}, "model.position: expected heads of at least two columns"),
    ],
)
def test_incompatible_values_are_named(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        decoder(**changes)


@pytest.mark.parametrize(
    ("attention", "layers", "kinds"),
    [
        ([SINGLE], 2, [SINGLE, SINGLE]),
        ([MULTI, SINGLE], 1, [SINGLE]),
        ([MULTI, SINGLE], 4, [MULTI, MULTI, MULTI, SINGLE]),
        ([SINGLE, MULTI, SINGLE], 3, [SINGLE, MULTI, SINGLE]),
    ],
)
def test_the_second_of_two_kinds_is_that_of_the_last_layer(
    attention: list[AttentionKind], layers: int, kinds: list[AttentionKind]
) -> None:
    assert decoder(attention=attention, layers=layers).config.attention_kinds() == kinds


def test_parameters_are_counted() -> None:
    C, L = 16, 3
    assert decoder().parameter_count() == 2 * V * C + L * 12 * C * C


@pytest.mark.parametrize("scoring", ScoringKind)
@pytest.mark.parametrize("feed_forward", [None, 20])
def test_the_config_counts_the_weights_of_the_linear_layers(scoring: ScoringKind, feed_forward: int | None) -> None:
    model = decoder(attention=[SINGLE, MULTI, SINGLE], scoring=scoring, feed_forward=feed_forward)
    assert model.config.block_parameter_count() == sum(weight.numel() for weight in model.linear_weights())
