import json
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.arithmetic import Flop, count_flop, limit_of
from bench.machine import Protocol
from bench.ours import Shape
from bench.peers import commit
from bench.profile import main
from bench.step import (
    BETWEEN,
    EVERYTHING_ELSE,
    KINDS,
    OPTIMIZER,
    Operation,
    TrainingStep,
    by_kind,
    kind_of,
    phase_seconds,
    profiled,
)
from bench.stopwatch import ROOT
from training.optimizer import NEWTON_SCHULZ_STEPS

CPU = torch.device("cpu")
SHAPE = Shape("test", layers=2, heads=2, width=64, context=32, batch=4)


def weights(step: TrainingStep) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in step.ours.decoder.parameters()]


class Multiplying(torch.optim.SGD):
    """Multiplies square matrices at each step, as optimizers that orthogonalize do."""

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        torch.randn(48, 48) @ torch.randn(48, 48)
        super().step(closure)


@pytest.fixture(scope="module")
def operations() -> list[Operation]:
    """Of a real step."""
    step = TrainingStep.of(SHAPE, CPU)
    step.take()
    return profiled(step, steps=3)[1]


# Time


def test_the_phases_together_do_what_a_training_step_does() -> None:
    whole, cut = TrainingStep.of(SHAPE, CPU), TrainingStep.of(SHAPE, CPU)
    for _ in range(3):
        whole.take()
        for phase in cut.phases().values():
            phase()
    torch.testing.assert_close(weights(whole), weights(cut), rtol=0, atol=0)


def test_every_phase_has_a_time() -> None:
    taken = phase_seconds(TrainingStep.of(SHAPE, CPU), Protocol(repeats=1, seconds=0))
    assert list(taken) == ["forward", "backward", "optimizer"]
    assert all(seconds > 0 for seconds in taken.values())


def test_shares_sum_to_one(operations: list[Operation]) -> None:
    assert sum(operation.share for operation in operations) == pytest.approx(1)
    kinds = by_kind(operations)
    assert sum(kinds.values()) == pytest.approx(1)
    assert list(kinds) == list(KINDS)
    assert all(share >= 0 for share in kinds.values())


def test_the_table_of_kinds_knows_all_that_a_step_does(operations: list[Operation]) -> None:
    unknown = [found for found in operations if found.kind != OPTIMIZER and kind_of(found.name) is None]
    assert sum(operation.share for operation in unknown) < 0.01, [operation.name for operation in unknown]


def test_a_step_has_operations_of_every_kind_but_those_of_a_compiler(operations: list[Operation]) -> None:
    kinds = {operation.kind for operation in operations}
    absent = {"generated kernels", "casts and copies"}  # whether there are casts depends on the machine's precision
    assert kinds | absent == set(KINDS)


def test_no_operation_is_of_two_kinds(operations: list[Operation]) -> None:
    for name in {operation.name.removeprefix("aten::") for operation in operations}:
        matching = [kind for kind, patterns in KINDS.items() if any(fnmatchcase(name, p) for p in patterns.split())]
        assert len(matching) <= 1, name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::addmm", "matrix products"),
        ("aten::baddbmm", "attention"),
        ("aten::_scaled_dot_product_flash_attention_backward", "attention"),
        ("aten::_softmax_backward_data", "attention"),
        ("aten::_log_softmax_backward_data", "element-wise, sums, embedding, loss"),
        ("aten::threshold_backward", "activation"),
        ("aten::native_layer_norm_backward", "normalization"),
        ("## Call CompiledFxGraph f4r2 ##", "generated kernels"),
        ("triton_poi_fused_gelu_0", "generated kernels"),
        ("MmBackward0", EVERYTHING_ELSE),
        ("autograd::engine::evaluate_function: GeluBackward0", EVERYTHING_ELSE),
        (BETWEEN, EVERYTHING_ELSE),
        ("aten::complex", "element-wise, sums, embedding, loss"),
        ("aten::view_as_complex", EVERYTHING_ELSE),
        ("aten::unheard_of", None),
    ],
)
def test_names_are_of_the_kind_that_a_reader_would_say(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


def test_what_the_optimizer_multiplies_is_the_optimizers() -> None:
    step = TrainingStep.of(SHAPE, CPU)
    before = {found.name: found.calls for found in profiled(step, steps=1)[1] if found.kind == "matrix products"}
    step.ours.optimizers[:] = [Multiplying(step.ours.decoder.parameters(), lr=0.1)]
    found = profiled(step, steps=1)[1]
    assert {found.name: found.calls for found in found if found.kind == "matrix products"} == before
    assert ("aten::mm", OPTIMIZER) in {(operation.name, operation.kind) for operation in found}
    flop = count_flop(step, SHAPE)
    assert flop.optimizer_counted == 2 * 48**3
    assert flop.linear_counted == flop.linear


def test_the_products_of_muon_are_the_optimizers(operations: list[Operation], flop: Flop) -> None:
    assert {found.name for found in operations if found.kind == OPTIMIZER} >= {"aten::bmm", "aten::baddbmm"}
    squares = SHAPE.layers * (3 + 1 + 4 + 4)  # of queries, keys and values, their joining, the feed-forward maps
    assert flop.optimizer_counted == NEWTON_SCHULZ_STEPS * 3 * squares * 2 * SHAPE.width**3


# Arithmetic


@pytest.fixture(scope="module")
def flop() -> Flop:
    return count_flop(TrainingStep.of(SHAPE, CPU), SHAPE)


def test_the_formula_for_linear_maps_agrees_with_what_is_counted(flop: Flop) -> None:
    assert flop.linear == pytest.approx(flop.linear_counted, rel=0.01)


def test_the_formula_for_attention_agrees_with_what_is_counted() -> None:
    with sdpa_kernel(SDPBackend.MATH):
        flop = count_flop(TrainingStep.of(SHAPE, CPU), SHAPE)
    assert flop.attention_full == pytest.approx(flop.attention_counted, rel=0.01)


def test_causality_needs_one_pair_of_characters_in_two_and_the_diagonal(flop: Flop) -> None:
    T = SHAPE.context
    assert flop.attention_causal / flop.attention_full == pytest.approx((T * (T + 1) / 2) / T**2)


def test_adamw_multiplies_no_matrices() -> None:
    step = TrainingStep.of(SHAPE, CPU)
    step.ours.optimizers[:] = [torch.optim.AdamW(step.ours.decoder.parameters())]
    assert count_flop(step, SHAPE).optimizer_counted == 0


def test_a_step_as_long_as_its_products_would_take_is_at_the_limit(flop: Flop) -> None:
    peak = 1e9
    limit = limit_of(flop, flop.needed / peak, peak)
    assert (limit.share_of_peak, limit.distance, limit.flop_per_second) == pytest.approx((1, 1, peak))
    assert limit_of(flop, 4 * limit.seconds, peak).distance == pytest.approx(4)


# The command


def test_a_quick_run_writes_all_that_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick", "--output", str(tmp_path)])
    found = json.loads((tmp_path / "profile_cpu.json").read_text(encoding="utf-8"))
    assert [profile["shape"]["name"] for profile in found["profiles"]] == ["small", "baby_gpt"]
    for profile in found["profiles"]:
        assert sum(profile["kinds"].values()) == pytest.approx(1)
        assert {"seconds", "phases", "operations", "flop", "limit"} <= profile.keys()
    assert found["commit"] == commit(ROOT)
    assert {"machine", "precision", "protocol", "peak_flop_per_second", "copied_bytes_per_second"} <= found.keys()
    text = (tmp_path / "profile_cpu.md").read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    assert "the figures mean nothing" in text
    for kind in KINDS:
        assert re.search(rf"^\| {kind} +\| +[\d.]+ % +\| +[\d.]+ % +\|$", text, re.M)


def test_one_shape_can_be_asked_for(tmp_path: Path) -> None:
    main(["--quick", "--shape", "small", "--output", str(tmp_path)])
    found = json.loads((tmp_path / "profile_cpu.json").read_text(encoding="utf-8"))
    assert [profile["shape"]["name"] for profile in found["profiles"]] == ["small"]
