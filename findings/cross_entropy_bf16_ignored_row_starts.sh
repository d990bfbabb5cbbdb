#!/usr/bin/env bash
# cross_entropy on bf16 logits reports a much too small loss when the ignored targets stand at the starts of rows.
#
# Versions:  torch 2.13.0 on a CPU (Linux x86-64, Python 3.11). Seen on 2026-11-29.
# Expected:  which of the targets are ignore_index changes the loss by no more than bf16 rounds, below 1 %: 64 rows of
#            256 characters with one of each row ignored should come to what fp32 says, be it the first or the last.
# Behaviour: without ignored targets, or with the last of each row ignored, it does. With the first ignored, the mean
#            (and the sum) is 40 % too small. The gradient is right, and so is reduction="none".
# Cause:     the sum is kept in bf16, in levels: after every 16th, 256th, ... target a partial sum moves up one level.
#            An ignored target is skipped together with the move that is due at it (aten/src/ATen/native/LossNLL.cpp),
#            so at a context that divides 256, as 64 and 128 do, one level is never emptied, and saturates when there
#            are thousands of targets. In fp32 the same happens and costs digits only.
# Matters:   the first target of a row is the one masked for a start token, a prompt or padding on the left, and 256 a
#            usual context. Training goes well while its curve, and what early stopping compares, shows a fraction of
#            the loss. logits.float() before the loss avoids it; so does autocast, which casts here by itself.
#
# Output:
#   ignored      bf16     fp32
#   none       4.6562   4.6705
#   last       4.6562   4.6708
#   first      2.6406   4.6702
#   first, reduction="none" and then the mean: 4.6562; gradient off by 0.5%
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import torch
from torch.nn.functional import cross_entropy

torch.manual_seed(0)
rows, context, characters = 64, 256, 65
logits = torch.randn(rows * context, characters, dtype=torch.bfloat16)
targets = torch.randint(characters, (rows, context))


def with_ignored(column):
    chosen = targets.clone()
    if column is not None:
        chosen[:, column] = -100
    return chosen.flatten()


def gradient(logits, target):
    logits = logits.clone().requires_grad_()
    cross_entropy(logits, target).backward()
    return logits.grad.float()


losses = {}
print("ignored      bf16     fp32")
for name, column in ("none", None), ("last", -1), ("first", 0):
    target = with_ignored(column)
    losses[name] = cross_entropy(logits, target).item(), cross_entropy(logits.float(), target).item()
    print(f"{name:8} {losses[name][0]:8.4f} {losses[name][1]:8.4f}")
each = cross_entropy(logits, target, reduction="none")[target >= 0].mean().item()
right = gradient(logits.float(), target)
off = ((gradient(logits, target) - right).norm() / right.norm()).item()
print(f'first, reduction="none" and then the mean: {each:.4f}; gradient off by {off:.1%}')

for name in "none", "last":
    assert abs(losses[name][0] / losses[name][1] - 1) < 0.02, "no longer right where it was"
assert losses["first"][0] / losses["first"][1] < 0.7, "the loss is right now"
assert abs(each / losses["first"][1] - 1) < 0.02 and off < 0.02
PY
