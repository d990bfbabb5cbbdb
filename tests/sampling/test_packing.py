from types import SimpleNamespace

import pytest
import torch
from torch import nn

import sampling.packing
from model.config import AttentionKind, PositionKind, ScoringKind
from model.decoder import Decoder
from sampling.completion import complete
from sampling.light import light
from sampling.packing import OPERATORS, PackedFeedForward, PackedLinear, packed
from tests.sampling import helpers
from tests.sampling.helpers import BOTH_KINDS

IDS = torch.randint(7, (3, 20), generator=torch.Generator().manual_seed(0))
ALL = 2**18  # rows for which even the smallest linear layer gains by packing


def decoder(bias: bool = True, scoring: ScoringKind = ScoringKind.dot) -> Decoder:
    made = helpers.decoder(scoring, attention=helpers.BOTH_KINDS, heads=4, width=64, context=20, bias=bias, dropout=0.5)
    with torch.no_grad():
        for parameter in made.parameters():  # biases begin at zero
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.1)
    return made


@pytest.mark.parametrize("scoring", ScoringKind)
@pytest.mark.parametrize("bias", [False, True])
def test_packed_in_fp32_it_computes_the_same(bias: bool, scoring: ScoringKind) -> None:
    model = decoder(bias, scoring)
    twin = packed(model, torch.float32, ALL)
    with torch.no_grad():
        torch.testing.assert_close(twin(IDS), model.eval()(IDS), rtol=0, atol=1e-5)


def test_packed_in_bf16_it_rounds_weights_and_activations() -> None:
    model = decoder().eval()
    with torch.no_grad():
        exact, found = model(IDS), packed(model, torch.bfloat16, ALL)(IDS)
    assert found.dtype == torch.float32
    # Eight bits are 0.4 % of each number; what is added up in two layers stays below two percent of the spread.
    assert 1e-4 < (found - exact).std() / exact.std() < 0.02


def test_packing_leaves_the_decoder_as_it_was() -> None:
    model = decoder().train()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    twin = packed(model, torch.bfloat16, ALL)
    assert model.training
    assert not twin.training
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert not any(weight.requires_grad for name, weight in twin.named_parameters() if "blocks" in name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_packed_decoder_samples_the_same_alone_and_in_a_batch(dtype: torch.dtype) -> None:
    model = decoder()
    alone = packed(model, dtype, 1)
    together = complete(packed(model, dtype, 5), [1, 2], 60, count=5, seed=3)
    assert together == [complete(alone, [1, 2], 60, seed=3 + i)[0] for i in range(5)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("missing", ["onednn", *OPERATORS])
def test_without_onednn_or_its_private_operators_a_packed_decoder_computes_the_same(
    missing: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_onednn = packed(decoder(), dtype, ALL)
    if missing == "onednn":
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    else:
        left = {name: getattr(torch.ops.mkldnn, name) for name in OPERATORS if name != missing}
        monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(**left))
    plain = packed(decoder(), dtype, ALL)
    layer = plain.blocks[0].feed_forward.hidden
    assert isinstance(layer, PackedLinear)
    assert not layer.reordered
    with torch.no_grad():
        found = plain(IDS)
        monkeypatch.undo()
        torch.testing.assert_close(found, with_onednn(IDS), rtol=0, atol=1e-5 if dtype == torch.float32 else 0.02)


def test_linear_layers_too_small_to_gain_stay_as_they_are_in_fp32() -> None:
    model = helpers.decoder(layers=1, width=256)
    kinds = {}
    for rows, dtype in ((1, torch.float32), (2, torch.float32), (5, torch.float32), (0, torch.bfloat16)):
        block = packed(model, dtype, rows).blocks[0]
        attention = block.attention
        kinds[rows] = [type(each) for each in (attention.query_key_value, attention.output, block.feed_forward)]
    # 65,536 weights in the output layer, three and four times as many in the others; all times the rows.
    assert kinds[1] == [nn.Linear, nn.Linear, type(model.blocks[0].feed_forward)]
    assert kinds[2] == [PackedLinear, nn.Linear, PackedFeedForward]
    assert kinds[5] == kinds[0] == [PackedLinear, PackedLinear, PackedFeedForward]  # in bf16 however few


@pytest.mark.parametrize("kind", BOTH_KINDS)
@pytest.mark.parametrize("position", PositionKind)
def test_a_light_twin_shares_all_weights_and_computes_the_same_to_the_bit(
    position: PositionKind, kind: AttentionKind
) -> None:
    model = helpers.decoder(position=position, attention=[kind], bias=True, dropout=0.5).train()
    twin = light(model)
    with torch.no_grad():
        model.output.weight.mul_(2)
        assert model.training
        assert torch.equal(twin(IDS[:, :12]), model.eval()(IDS[:, :12]))


@pytest.mark.parametrize("avx512", [False, True])
def test_for_one_row_a_cpu_without_avx512_takes_plain_products_with_weights_by_columns(
    avx512: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": avx512})
    monkeypatch.setattr(sampling.packing, "PACKED_FROM", 0)
    model = decoder()
    twin = packed(model, torch.float32, 1)
    layer = twin.blocks[0].feed_forward.hidden
    assert isinstance(layer, PackedLinear) == avx512
    assert avx512 or layer.weight.mT.is_contiguous()
    with torch.no_grad():
        torch.testing.assert_close(twin(IDS), model.eval()(IDS), rtol=0, atol=1e-5)
