#!/usr/bin/env bash
# captum's trapezoid rule gives attributions that are too small by 1 / n_steps, even where the gradient is constant.
#
# Versions:  captum 0.9.0, torch 2.13.0 on a CPU (Linux x86-64, Python 3.11). Seen on 2026-11-30.
# Expected:  the trapezoid rule is exact for gradients that are linear along the path, whatever the number of steps, and
#            its error falls with the square of that number; the left and right sums' only with the number itself.
# Behaviour: with method="riemann_trapezoid" the attributions of a plain sum, whose gradient is 1, add up to 1 - 1 /
#            n_steps of the difference that they explain; all other methods give all of it. At 50 steps, the default,
#            2 % are missing from each attribution.
# Cause:     n points make n - 1 intervals, and their widths are taken as 1 / n, so that the weights sum to (n - 1) / n
#            (captum/attr/_utils/approximation_methods.py).
# Matters:   the missing part looks like error of integration, which the convergence delta is for: one doubles the
#            steps, and each doubling only halves it. The default, gausslegendre, is right.
#
# Output (part of f(x) - f(0) that the attributions add up to, for f = sum of x and of its squares):
#   method                    sum, 10      sum, 20      sum, 50  squares, 10  squares, 20  squares, 50
#   gausslegendre               1.000        1.000        1.000        1.000        1.000        1.000
#   riemann_middle              1.000        1.000        1.000        1.000        1.000        1.000
#   riemann_left                1.000        1.000        1.000        0.900        0.950        0.980
#   riemann_right               1.000        1.000        1.000        1.100        1.050        1.020
#   riemann_trapezoid           0.900        0.950        0.980        0.900        0.950        0.980
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile captum==0.9.0 torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import torch
from captum.attr import IntegratedGradients

x = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
functions = {"sum": lambda x: x.sum(1), "squares": lambda x: x.square().sum(1)}
steps = 10, 20, 50
print("method              ", *(f"{f'{name}, {n}':>12}" for name in functions for n in steps))
for method in "gausslegendre", "riemann_middle", "riemann_left", "riemann_right", "riemann_trapezoid":
    parts = {}
    for name, f in functions.items():
        for n in steps:
            given = IntegratedGradients(f).attribute(x, n_steps=n, method=method)
            parts[name, n] = (given.sum() / f(x).sum()).item()
    print(f"{method:20}", *(f"{part:12.3f}" for part in parts.values()))
    for (name, n), part in parts.items():
        side = {"riemann_left": -1 / n, "riemann_right": 1 / n}.get(method, 0) * (name == "squares")
        expected = 1 - 1 / n if method == "riemann_trapezoid" else 1 + side
        assert abs(part - expected) < 1e-6, f"{method} of {name} in {n} steps gives {part} now"
PY
