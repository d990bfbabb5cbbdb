#!/usr/bin/env bash
# torch's attention on CPUs gives NaN for is_causal=True with a scale of zero or less.
#
# Versions:  torch 2.13.0 on a CPU (Linux x86-64, Python 3.11), the kernel that it chooses by itself. Seen on
#            2026-11-29.
# Expected:  is_causal=True is short for a lower-triangular mask, and `scale` a number like any other. At scale=0 each
#            query takes the plain mean of what it may see; at a negative scale it turns to the keys most unlike it.
# Behaviour: every query that has a future gets NaN. The same call with that mask as a boolean tensor is right, and so
#            is is_causal=True by the backend MATH. Without is_causal such scales are right. In bf16 a negative scale
#            gives NaN as well or, at lengths such as 8, 16 and 64, zeros for every query: then nothing warns at all.
# Cause:     with is_causal the kernel writes -inf over the future scores first, and only then multiplies by `scale`: 0
#            * -inf is NaN, and a negative factor makes it +inf. A mask is added after the factor
#            (aten/src/ATen/native/cpu/FlashAttentionKernel.cpp).
# Matters:   scale=0 is how one turns scores off in an ablation, or warms attention up from the mean; negative scales
#            are tried in studies of what a head does. The NaN comes with the flag that is recommended as the faster
#            one, and only in the causal layers of a model.
#
# Output:
#   scale   is_causal=True: NaN of 8 queries   the mask   MATH   not causal
#    0.00                                  7          0      0            0
#   -0.25                                  7          0      0            0
#    0.25                                  0          0      0            0
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention as attention

torch.manual_seed(0)
T, D = 8, 16
q, k, v = torch.randn(3, 1, 1, T, D)
past = torch.ones(T, T, dtype=torch.bool).tril()


def lost(out):
    return out.isnan().any(-1).sum().item()


print("scale   is_causal=True: NaN of 8 queries   the mask   MATH   not causal")
for scale in 0.0, -0.25, 0.25:
    flag = attention(q, k, v, is_causal=True, scale=scale)
    mask = attention(q, k, v, attn_mask=past, scale=scale)
    with sdpa_kernel(SDPBackend.MATH):
        plain = attention(q, k, v, is_causal=True, scale=scale)
    free = attention(q, k, v, scale=scale)
    print(f"{scale:5.2f} {lost(flag):34} {lost(mask):10} {lost(plain):6} {lost(free):12}")
    formula = (q @ k.mT * scale).masked_fill(~past, -torch.inf).softmax(-1) @ v
    for right in mask, plain:
        assert torch.allclose(right, formula, atol=1e-5)
    assert lost(free) == 0
    assert (lost(flag) > 0) == (scale <= 0), "is_causal=True is right now"
    low = attention(*(x.bfloat16() for x in (q, k, v)), is_causal=True, scale=scale).float()
    assert torch.allclose(low, formula, atol=0.1) == (scale > 0)
PY
