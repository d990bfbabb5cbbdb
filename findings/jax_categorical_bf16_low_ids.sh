#!/usr/bin/env bash
# jax.random.categorical on bf16 logits draws the first of equally likely ids 1.6 times as often as the last.
#
# Versions:  jax 0.10.2 on a CPU (Linux x86-64, Python 3.11). Seen on 2026-11-29.
# Expected:  bf16 logits round the probabilities by some percent, and characters with equal logits come equally often:
#            torch.multinomial and mlx.random.categorical do so in bf16. The documentation warns of float32 and
#            probabilities below 1e-7 only.
# Behaviour: of 65 characters with equal logits the first eight come 1.6 times as often as the last eight. A likely
#            character is drawn too often (0.84 instead of 0.70), the unlikely ones together, 0.8 %, at less than half
#            of that. fp16 is in order for equals, and loses nearly all of the unlikely. The same logits in float32 are
#            right.
# Cause:     the noise of the Gumbel trick is drawn in the dtype of the logits (jax/_src/random/core.py). In bf16 it has
#            128 values and ends at 4.84, so several characters often share the largest sum, and argmax takes the first.
# Matters:   bf16 logits are what a bf16 model gives. Vocabularies are in order: of code points here (line end, space,
#            punctuation and capitals come first), of frequency in most others, so what is frequent gets more frequent,
#            and samples look as at a lower temperature. No single draw shows it. logits.astype(float32) avoids it;
#            mode="high" brings equals in order, and overshoots the unlikely.
#
# Output (200,000 draws; the first 8 of 65 equal ids against the last 8; one logit of 5, or of 9, above 64 of zero):
#                        first / last   likely 0.699   all unlikely 0.0078
#   float32                      1.01          0.699                0.0078
#   bfloat16                     1.59          0.844                0.0031
#   float16                      1.05          0.720                0.0001
#   bfloat16, "high"             1.01          0.704                0.0098
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PY'
import jax
import jax.numpy as jnp
import numpy as np

draws, characters = 200_000, 65


def frequencies(dtype, mode, first_logit):
    logits = jnp.zeros(characters, dtype).at[0].set(first_logit)
    ids = jax.random.categorical(jax.random.key(0), logits, shape=(draws,), mode=mode)
    return np.bincount(np.asarray(ids), minlength=characters) / draws


def true(first_logit):
    return np.exp(first_logit) / (np.exp(first_logit) + characters - 1)


print(f"{'':20} first / last   likely {true(5):.3f}   all unlikely {1 - true(9):.4f}")
seen = {}
for name, dtype, mode in (
    ("float32", jnp.float32, None),
    ("bfloat16", jnp.bfloat16, None),
    ("float16", jnp.float16, None),
    ('bfloat16, "high"', jnp.bfloat16, "high"),
):
    equal = frequencies(dtype, mode, 0)
    likely, unlikely = frequencies(dtype, mode, 5)[0], 1 - frequencies(dtype, mode, 9)[0]
    seen[name] = equal[:8].mean() / equal[-8:].mean(), likely, unlikely
    print("{:20} {:12.2f} {:14.3f} {:21.4f}".format(name, *seen[name]))

ratio, likely, unlikely = seen["bfloat16"]
assert ratio > 1.4 and likely > 0.8 and unlikely < 0.5 * (1 - true(9)), "bf16 is drawn right now"
ratio, likely, unlikely = seen["float32"]
assert abs(ratio - 1) < 0.05 and abs(likely - true(5)) < 0.01 and abs(unlikely / (1 - true(9)) - 1) < 0.1
assert abs(seen['bfloat16, "high"'][0] - 1) < 0.05
PY
