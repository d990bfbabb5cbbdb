import json
import re
from pathlib import Path

import pytest
import torch

from bench.curves import Case, doubling, exponent, prepare
from bench.memory import peak_bytes
from bench.operations import OPERATIONS, Pass
from bench.scaling import LAYERS, SCORING, main
from bench.scaling_steps import ADAMW, CASES, MICRO_BATCHES, training_step

CPU = torch.device("cpu")


def seeded(operation: str, **sizes: int) -> Pass:
    torch.manual_seed(0)
    return OPERATIONS[operation](**sizes)


def peak_of(operation: str, **sizes: int) -> int:
    return peak_bytes(prepare(operation, CPU, **sizes))


# Exponents


@pytest.mark.parametrize("true", [0, 0.5, 1, 2, 3])
def test_the_fit_recovers_the_exponent_of_a_power(true: float) -> None:
    sizes = doubling(64, 4096)
    assert exponent(sizes, [7e-5 * size**true for size in sizes]) == pytest.approx(true, abs=1e-12)


def test_the_fit_does_not_see_what_small_sizes_cost() -> None:
    sizes = doubling(1, 64)
    overhead = [1000.0 if size < 8 else 0.0 for size in sizes]
    assert exponent(sizes, [size**2 + extra for size, extra in zip(sizes, overhead, strict=True)]) == pytest.approx(2)


def test_sizes_double_from_the_first_to_the_last() -> None:
    assert doubling(8, 64) == (8, 16, 32, 64)


def test_explicit_attention_takes_memory_in_n_squared_and_fused_in_n() -> None:
    sizes = doubling(128, 1024)
    explicit, fused = (
        [peak_of(operation, n=n, d=16) for n in sizes] for operation in ("explicit attention", "fused attention")
    )
    assert exponent(sizes, explicit) == pytest.approx(2, abs=0.1)
    assert exponent(sizes, fused) == pytest.approx(1, abs=0.01)


# Operations


@pytest.mark.parametrize(
    ("left", "right", "sizes"),
    [
        ("explicit attention", "fused attention", {"n": 33, "d": 8}),
        ("explicit dot product", "fused dot product", {"Q": 5, "K": 33, "D": 16, "V": 16}),
        ("explicit dot product", "fused dot product", {"Q": 5, "K": 33, "D": 16, "V": 1}),
        ("explicit dot product", "fused dot product", {"Q": 5, "K": 33, "D": 1, "V": 16}),
    ],
)
def test_explicit_and_fused_attention_agree(left: str, right: str, sizes: dict[str, int]) -> None:
    torch.testing.assert_close(seeded(left, **sizes).forward(), seeded(right, **sizes).forward())


def test_explicit_and_fused_attention_have_the_same_gradients() -> None:
    explicit, fused = (seeded(operation, n=33, d=8).step() for operation in ("explicit attention", "fused attention"))
    torch.testing.assert_close(explicit(), fused())


@pytest.mark.parametrize("case", [case for case in LAYERS if case.varied == "n"], ids=lambda case: case.operation)
def test_layers_never_see_the_future(case: Case) -> None:
    layer = seeded(case.operation, n=9, **{name: min(size, 8) for name, size in case.fixed.items()})
    seen = layer.leaves[-1 if "attention" in case.operation else 0]  # values, or the input
    gradient = torch.autograd.grad(layer.forward().reshape(9, 8)[4].sum(), seen)[0].reshape(9, 8)
    assert (gradient[5:] == 0).all()
    assert (gradient[4] != 0).all()


def test_a_convolution_sees_as_many_places_as_its_kernel_is_wide() -> None:
    layer = seeded("convolution", n=9, d=8, k=3)
    gradient = torch.autograd.grad(layer.forward()[0, 4].sum(), layer.leaves[0])[0][0]
    assert [bool(place.any()) for place in gradient] == [place in (2, 3, 4) for place in range(9)]


@pytest.mark.parametrize("operation", ["explicit dot product", "fused dot product", "additive"])
def test_scoring_takes_all_four_sizes(operation: str) -> None:
    assert seeded(operation, Q=2, K=3, D=4, V=5).forward().shape == (1, 1, 2, 5)


@pytest.mark.parametrize("case", LAYERS + SCORING + CASES, ids=lambda case: f"{case.operation}-{case.varied}")
def test_every_case_has_sizes_enough_for_a_fit(case: Case) -> None:
    assert len(case.sizes) >= 4
    assert case.varied not in case.fixed


def test_a_training_step_is_taken_as_its_name_says() -> None:
    sizes = {"layers": 2, "width": 128, "context": 4, "batch": 3}
    plain, adamw, micro = (training_step(name, CPU, **sizes).ours for name in ("", ADAMW, MICRO_BATCHES))
    assert plain.decoder.config.heads == 2
    assert [len(ours.optimizers) for ours in (plain, adamw, micro)] == [2, 1, 2]
    assert [ours.config.micro_batch_size for ours in (plain, adamw, micro)] == [None, None, 1]


# The command


def test_a_quick_run_writes_all_that_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick", "--output", str(tmp_path)])
    found = json.loads((tmp_path / "scaling.json").read_text(encoding="utf-8"))
    assert len(found["layers"]) == len(LAYERS)
    assert len(found["scoring"]) == len(SCORING)
    for curve in found["layers"] + found["scoring"]:
        assert len(curve["case"]["sizes"]) == len(curve["seconds"]) == len(curve["peak_bytes"])
    assert {"machine", "protocol", "sources", "facts", "bandwidth"} <= found.keys()
    text = (tmp_path / "scaling.md").read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    for case in LAYERS + SCORING:
        assert re.search(rf"^\| {case.operation} +\| {case.varied} to ", text, re.M)
    steps = (tmp_path / "scaling_steps.md").read_text(encoding="utf-8")
    for case in CASES:
        assert re.search(rf"^\| {case.operation} +\| {case.varied} to ", steps, re.M)
