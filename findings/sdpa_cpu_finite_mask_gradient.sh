#!/usr/bin/env bash
# torch's attention on CPUs gives wrong gradients, after a right forward pass, where a finite mask hides a whole row.
#
# Versions:  torch 2.13.0 on a CPU (Linux x86-64, Python 3.11), the kernel that it chooses by itself. Seen on
#            2026-11-29.
# Expected:  a mask of 0 and -1e9 (or torch.finfo.min), instead of -inf, is the usual way to keep rows that see nothing
#            free of NaN: their weights become uniform. The gradient is that of the formula in the documentation,
#            softmax(q k^T scale + mask) v, as the result is.
# Behaviour: the result is. In the backward pass each weight of such a row counts as 1 instead of 1 / keys. Here 3 of 8
#            queries (padding on the left) see nothing, and the gradient of v sums to 29 for each column instead of 8: 5
#            queries give 1, the other three 8 each. q and k are wrong as well. No warning, nothing is NaN.
# Cause:     the kernel keeps max + log(sum) of a row for its backward pass. At -1e9 fp32 steps by 64, and log(8) is
#            lost.
# Matters:   padded batches are masked so in much code, and comparing results with the formula, as tests do, shows
#            nothing. The longer the rows, the larger the factor; gradient clipping then shrinks what was right. Boolean
#            masks and -inf are safe in this version (such rows give zeros, and zero gradient). bf16 does the same.
#
# Output:
#   mask of          result off   v.grad, sum of a column   by the formula
#   -1e9                  0.000                     29.00             8.00
#   False (boolean)       0.000                      5.00             5.00
#   relative error of the gradients of q, k, v at -1e9: 1.6, 0.9, 0.4
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import torch
from torch.nn.functional import scaled_dot_product_attention

T, D, padding = 8, 16, 3
seen = torch.ones(T, T, dtype=torch.bool).tril() & (torch.arange(T) >= padding)


def formula(q, k, v, mask):
    if mask.dtype == torch.bool:
        return (q @ k.mT / D**0.5).masked_fill(~mask, -torch.inf).softmax(-1).nan_to_num() @ v
    return (q @ k.mT / D**0.5 + mask).softmax(-1) @ v


def run(attention, mask, loss):
    torch.manual_seed(1)
    inputs = [torch.randn(1, 1, T, D, requires_grad=True) for _ in range(3)]
    out = attention(*inputs, mask)
    return out.detach(), torch.autograd.grad(loss(out), inputs)


def relative(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


masks = {"-1e9": torch.zeros(T, T).masked_fill(~seen, -1e9), "False (boolean)": seen}
sums = {}
print("mask of          result off   v.grad, sum of a column   by the formula")
for name, mask in masks.items():
    (out, grads), (right, true) = (run(f, mask, torch.sum) for f in (scaled_dot_product_attention, formula))
    off, sums[name] = relative(out, right), tuple(of_v[..., 0].sum().item() for *_, of_v in (grads, true))
    print(f"{name:16} {off:10.3f} {sums[name][0]:25.2f} {sums[name][1]:16.2f}")
    assert off < 1e-5
both = [run(f, masks["-1e9"], lambda out: out.square().sum())[1] for f in (scaled_dot_product_attention, formula)]
errors = [relative(a, b) for a, b in zip(*both)]
print("relative error of the gradients of q, k, v at -1e9:", ", ".join(f"{e:.1f}" for e in errors))
rounded = {name: tuple(round(x, 2) for x in pair) for name, pair in sums.items()}
assert rounded == {"-1e9": (29, 8), "False (boolean)": (5, 5)}, rounded
assert min(errors) > 0.2
PY
