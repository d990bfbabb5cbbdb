from itertools import product

import numpy as np
import pytest

from bench.law import Law, fit_law

RUNS = [*product((3e3, 1e4, 5e4, 2e5, 8e5), (5e5, 1e6, 2e6, 4e6))]
TRUE = Law(E=0.9, A=12.0, a=0.3, B=40.0, b=0.35)


def fitted(losses: list[float]) -> Law:
    return fit_law([N for N, _ in RUNS], [D for _, D in RUNS], losses)


def test_the_fit_recovers_a_law_from_its_losses() -> None:
    law = fitted([TRUE.loss(*run) for run in RUNS])
    assert [law.E, law.a, law.b] == pytest.approx([0.9, 0.3, 0.35], abs=1e-3)
    assert law.loss(1e7, 1e8) == pytest.approx(TRUE.loss(1e7, 1e8), abs=1e-4)


def test_the_fit_is_not_led_astray_by_a_little_noise() -> None:
    noise = np.random.default_rng(0).normal(scale=0.005, size=len(RUNS))
    law = fitted([TRUE.loss(*run) + each for run, each in zip(RUNS, noise, strict=True)])
    assert law.loss(3e6, 8e6) == pytest.approx(TRUE.loss(3e6, 8e6), abs=0.03)


def test_losses_that_do_not_fall_have_a_law_without_gain() -> None:
    law = fitted([2.0 for _ in RUNS])
    assert law.loss(1e9, 1e9) == pytest.approx(2.0)
    assert min(law.E, law.A, law.B) >= 0


def test_the_best_size_for_a_budget_is_where_the_law_is_least() -> None:
    sizes = np.geomspace(1e2, 1e10, 10_001).tolist()
    small, large = (min((TRUE.loss(N, budget / N), N) for N in sizes)[1] for budget in (1e12, 1e14))
    assert np.log(large / small) / np.log(100) == pytest.approx(TRUE.parameters_by_compute(), abs=1e-3)
