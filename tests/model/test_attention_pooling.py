import math
from unittest.mock import Mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

import model.attention_pooling
from model.attention_pooling import AttentionPooling, explicit_causal, fused, masked_softmax
from model.config import ScoringKind
from model.position import RotaryPosition
from model.scoring import Additive, Bilinear, Distance, DotProduct, Mean, Scoring, make_scoring
from tests.model.helpers import H, of_each_scoring, random

Case = tuple[AttentionPooling, Tensor, Tensor, Tensor, Tensor | None]


def score(scoring: Scoring, q: Tensor, k: Tensor, h: int) -> float:
    """The definition, for one query and one key of head h."""
    match scoring:
        case DotProduct():
            return float(q @ k) / math.sqrt(len(k))
        case Bilinear():
            return float(q @ scoring.matrix[h] @ k) / math.sqrt(len(k))
        case Distance():
            return -float((q - k).square().sum()) / 2 / math.sqrt(len(k))
        case Additive():
            return float(scoring.vector[h] @ (q + k).tanh())
        case _:
            return 0.0


@of_each_scoring
@pytest.mark.parametrize("causal", [True, False])
def test_weights_are_the_softmax_of_the_scores_by_definition(kind: ScoringKind, causal: bool) -> None:
    scoring = make_scoring(kind, H, 4).double().requires_grad_(False)
    query, key = random(2, 2, H, 5, 4).unbind()
    weights = AttentionPooling(scoring, causal=causal).weights(query, key)
    for b in range(2):
        for h in range(H):
            for i in range(5):
                seen = i + 1 if causal else 5
                scores = [math.exp(score(scoring, query[b, h, i], key[b, h, j], h)) for j in range(seen)]
                expected = [score / sum(scores) for score in scores] + [0.0] * (5 - seen)
                torch.testing.assert_close(weights[b, h, i].tolist(), expected)


def lens_of(draw: st.DrawFn, B: int, Q: int, K: int) -> Tensor | None:
    """None, (B,) or (B, Q), with empty and full lengths among them."""
    one = st.sampled_from([0, K]) | st.integers(0, K)
    shape = draw(st.sampled_from([None, (B,), (B, Q)]))
    if shape is None:
        return None
    return torch.tensor(draw(st.lists(one, min_size=math.prod(shape), max_size=math.prod(shape)))).view(shape)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kind, causal, rotary = draw(st.sampled_from(ScoringKind)), draw(st.booleans()), draw(st.booleans())
    B, K, D, Dv = (draw(st.integers(1, most)) for most in (3, 9, 5, 5))
    Q = K if causal else draw(st.integers(1, 9))
    rotation = RotaryPosition(9, D) if rotary else None
    pooling = AttentionPooling(make_scoring(kind, H, D), rotary=rotation, causal=causal).double()
    inputs = random(B, H, Q, D, seed=1), random(B, H, K, D, seed=2), random(B, H, K, Dv, seed=3)
    return pooling, *inputs, lens_of(draw, B, Q, K)


@given(cases(), st.sampled_from([1, 2**20]))
def test_every_form_of_pooling_is_the_weights_applied_to_the_values(case: Case, block: int) -> None:
    pooling, query, key, value, valid_lens = case
    inputs = [x.clone().requires_grad_() for x in (query, key, value)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.attention_pooling, "ADDITIVE_SUMS", block)  # one query at a time, or all at once
        pooled = pooling(*inputs, valid_lens)
        with torch.no_grad():
            torch.testing.assert_close(pooling(*inputs, valid_lens), pooled)
    weights = pooling.weights(query, key, valid_lens)
    torch.testing.assert_close(pooled, weights @ value)
    pooled.sum().backward()
    assert all(x.grad is None or x.grad.isfinite().all() for x in inputs)


@given(cases())
def test_a_query_attends_to_its_visible_keys_and_no_others(case: Case) -> None:
    pooling, query, key, _, valid_lens = case
    B, Q, K = len(query), query.shape[2], key.shape[2]
    weights = pooling.weights(query, key, valid_lens)
    lens = torch.full((B, Q), K) if valid_lens is None else valid_lens.view(B, -1).expand(B, Q)
    if pooling.causal:
        lens = lens.minimum(torch.arange(1, Q + 1))
    for b in range(B):
        for i in range(Q):
            seen, unseen = weights[b, :, i, : lens[b, i]], weights[b, :, i, lens[b, i] :]
            assert (seen > 0).all()
            assert (unseen == 0).all()
            torch.testing.assert_close(weights[b, :, i].sum(-1), torch.full((H,), float(lens[b, i] > 0)).double())


@of_each_scoring
def test_gradients_are_those_of_finite_differences(kind: ScoringKind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.attention_pooling, "ADDITIVE_SUMS", 1)
    pooling = AttentionPooling(make_scoring(kind, H, 4)).double()
    inputs = [random(2, H, 3, size, seed=size).requires_grad_() for size in (4, 4, 2)]
    names, parameters = zip(*pooling.named_parameters(), strict=True) if list(pooling.parameters()) else ((), ())

    def pooled(query: Tensor, key: Tensor, value: Tensor, *values: Tensor) -> Tensor:
        arguments = (query, key, value, torch.tensor([2, 0]))
        return torch.func.functional_call(pooling, dict(zip(names, values, strict=True)), arguments)

    given_parameters = [p.detach().clone().requires_grad_() for p in parameters]
    assert torch.autograd.gradcheck(pooled, (*inputs, *given_parameters))


@of_each_scoring
def test_nothing_is_changed_in_place(kind: ScoringKind) -> None:
    pooling = AttentionPooling(make_scoring(kind, H, 4), causal=False).double()
    inputs = random(2, H, 5, 4, seed=1), random(2, H, 5, 4, seed=2), random(2, H, 5, 4, seed=3), torch.tensor([2, 0])
    before = [x.clone() for x in inputs]
    pooling(*inputs)
    pooling.weights(*inputs[:2], inputs[3])
    scores = random(2, 5, 4)
    masked_softmax(scores, inputs[3])
    assert torch.equal(scores, random(2, 5, 4))
    assert all(torch.equal(x, y) for x, y in zip(inputs, before, strict=True))


@pytest.mark.parametrize("kind", [ScoringKind.dot, ScoringKind.bilinear, ScoringKind.distance])
@pytest.mark.parametrize("valid_lens", [None, torch.tensor([3, 7])])
def test_inner_products_reach_the_fused_kernel(kind: ScoringKind, valid_lens: Tensor | None) -> None:
    pooling = AttentionPooling(make_scoring(kind, H, 8))
    query, key, value = random(3, 2, H, 7, 8, dtype=torch.float32).unbind()
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # no other is allowed, so that any obstacle is an error
        assert pooling(query, key, value, valid_lens).isfinite().all()


def test_the_mean_never_forms_a_weight_for_each_pair() -> None:
    length = 2**17  # squared, these would take 64 GiB
    value = random(1, 1, length, 1)
    mean = AttentionPooling(Mean())(value, value, value)
    torch.testing.assert_close(mean[0, 0, -1], value.mean((0, 1, 2)))
    torch.testing.assert_close(mean[0, 0, 1], value[0, 0, :2].mean(0))


def test_additive_attention_forms_a_bounded_number_of_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    bound, sizes = 2 * 3 * 10 * 16 * 8, []  # ten queries at a time
    monkeypatch.setattr(model.attention_pooling, "ADDITIVE_SUMS", bound)
    scoring = Additive(3, 8)
    scores = scoring.scores

    def counted(query: Tensor, key: Tensor) -> Tensor:
        sizes.append(query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2] * key.shape[3])
        return scores(query, key)

    monkeypatch.setattr(scoring, "scores", counted)
    query, key, value = (x.requires_grad_() for x in random(3, 2, 3, 16, 8, dtype=torch.float32).unbind())
    AttentionPooling(scoring)(query, key, value).sum().backward()
    assert len(sizes) == 4  # two blocks, each once forwards and once more for its gradient
    assert max(sizes) <= bound


@of_each_scoring
@pytest.mark.parametrize("lens", [None, torch.tensor([9, 17])])
def test_under_autocast_attention_on_a_cpu_stays_in_fp32(kind: ScoringKind, lens: Tensor | None) -> None:
    causal = kind is not ScoringKind.dot or lens is not None  # the one exception is tested below
    pooling = AttentionPooling(make_scoring(kind, H, 8), causal=causal)
    query, key, value = random(3, 2, H, 17, 8, dtype=torch.bfloat16).unbind()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = pooling(query, key, value, lens)
    assert rounded.dtype == torch.bfloat16
    exact = pooling(query.float(), key.float(), value.float(), lens)
    torch.testing.assert_close(rounded, exact.bfloat16(), rtol=0, atol=0)


def test_explicit_causal_attention_agrees_with_the_fused_kernel() -> None:
    query, key, value = inputs = [x.requires_grad_() for x in random(3, 2, H, 17, 8).unbind()]
    explicit = explicit_causal(query, key, value, scale=0.3)
    kernel = fused(query, key, value, scale=0.3, causal=True)
    torch.testing.assert_close(explicit, kernel)
    upstream = random(2, H, 17, 8)
    for one, other in zip(
        torch.autograd.grad(explicit, inputs, upstream), torch.autograd.grad(kernel, inputs, upstream), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("rotary", [None, RotaryPosition(64, 32)])
def test_plain_attention_in_bf16_on_a_cpu_is_near_that_in_fp32(
    rotary: RotaryPosition | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Mock(side_effect=explicit_causal)
    monkeypatch.setattr(model.attention_pooling, "explicit_causal", spy)
    pooling = AttentionPooling(rotary=rotary)
    query, key, value = random(3, 2, H, 64, 32, dtype=torch.bfloat16).unbind()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = pooling(query, key, value)
    spy.assert_called_once()
    exact = pooling(query.float(), key.float(), value.float())
    spy.assert_called_once()
    assert rounded.dtype == torch.bfloat16
    # Weights and means of values of about one, each rounded to eight bits a few times.
    torch.testing.assert_close(rounded.float(), exact, rtol=0, atol=0.03)
    assert (rounded.float() - exact).square().mean().sqrt() < 0.005


def test_long_contexts_never_form_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.attention_pooling, "EXPLICIT_LONGEST", 16)
    monkeypatch.setattr(model.attention_pooling, "explicit_causal", None)
    query, key, value = random(3, 2, H, 17, 8, dtype=torch.bfloat16).unbind()
    with torch.autocast("cpu", torch.bfloat16):
        assert AttentionPooling()(query, key, value).isfinite().all()


@pytest.mark.parametrize("kind", [kind for kind in ScoringKind if kind is not ScoringKind.mean])
def test_dropout_falls_on_weights_in_training_only_and_keeps_their_mean(kind: ScoringKind) -> None:
    torch.manual_seed(0)
    pooling = AttentionPooling(make_scoring(kind, 1, 4), dropout=0.5, causal=False)
    query, key = random(2, 1, 1, 6, 4, dtype=torch.float32).unbind()
    everything = torch.eye(6)[None, None]  # as values, the weights themselves come out
    dropped = pooling(*(x.expand(2000, -1, -1, -1) for x in (query, key, everything)))
    weights = pooling.weights(query, key)
    zero = dropped == 0
    assert zero.float().mean().item() == pytest.approx(0.5, abs=0.01)
    torch.testing.assert_close(dropped, torch.where(zero, 0.0, 2 * weights).expand_as(dropped))
    torch.testing.assert_close(pooling.eval()(query, key, everything), weights)


def test_a_mean_has_no_weights_to_drop() -> None:
    with pytest.raises(ValueError, match=r"expected no dropout with a mean, .* got 0\.5"):
        AttentionPooling(Mean(), dropout=0.5)


def test_shapes_that_torch_would_accept_but_do_not_match_are_named() -> None:
    scores = random(2, 4, 5)
    for wrong in (torch.ones(3), torch.ones(2, 5), torch.ones(2, 4, 5)):
        with pytest.raises(ValueError, match=r"expected valid_lens of shape \(2,\) or \(2, 4\), got"):
            masked_softmax(scores, wrong)
    query = random(1, H, 5, 4)
    for kind in ScoringKind:
        with pytest.raises(ValueError, match=r"expected valid_lens of shape \(1,\) or \(1, 5\), got \(2,\)"):
            AttentionPooling(make_scoring(kind, H, 4).double())(query, query, query, torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="expected as many keys as queries in causal attention, got 3 and 5"):
        AttentionPooling()(query, query[:, :, :3], query[:, :, :3])
    with pytest.raises(ValueError, match="expected as many values as keys, got 3 and 5"):
        AttentionPooling()(query, query, query[:, :, :3])


@pytest.mark.parametrize("kind", [kind for kind in ScoringKind if kind is not ScoringKind.mean])
def test_queries_and_keys_of_other_sizes_than_expected_are_refused(kind: ScoringKind) -> None:
    pooling = AttentionPooling(make_scoring(kind, H, 4).double())
    query, key = random(1, H, 5, 4), random(1, H, 5, 2)
    for value in (query, key, random(1, H, 5, 7)):
        with pytest.raises(RuntimeError, match="size"):
            pooling(query, key, value)


@pytest.mark.parametrize("scale", [0.0, -0.5])
def test_a_scale_that_torchs_causal_kernel_turns_to_nan_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match=f"expected a positive scale, got {scale}"):
        DotProduct(scale)
