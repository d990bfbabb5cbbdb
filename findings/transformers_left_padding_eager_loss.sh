#!/usr/bin/env bash
# With padding on the left, a transformers model in "eager" attention is trained to predict a character it can see.
#
# Versions:  transformers 5.23.0, torch 2.13.0 on a CPU (Linux x86-64, Python 3.11). Seen on 2026-11-29.
# Expected:  attention_mask and labels of -100 take padding out of attention and loss, so the loss is the same for
#            attn_implementation "eager" and "sdpa", and nothing in it depends on a character that comes later.
# Behaviour: it differs, and it does depend. The first true character has a label, and what predicts it is the position
#            before it, the last of the padding. That one may see nothing: "sdpa" gives it zeros, "eager" the plain mean
#            of all positions, the true characters among them, the one to be predicted too. At all later positions the
#            two agree with each other and with the text alone, to rounding.
# Cause:     eager masks with the lowest finite number, which leaves a row that is hidden throughout uniform. The shift
#            of the labels, inside the model, puts the one such row that matters under a true label.
# Matters:   short lines (names, molecules, words) padded on the left, as generation wants it: one position in each line
#            learns by looking ahead, and loss and gradients change with the kernel, most for short lines. With -100 for
#            the first true character as well, both give the loss of the text alone. On the right, nothing of it
#            happens.
#
# Output (8 characters after 3 of padding):
#   loss: sdpa 4.1702, eager 4.1678, the text alone 4.1915
#   logits that change with the last character: sdpa at [10], eager at [0, 1, 2, 10]
#   without the first true label: sdpa 4.1915, eager 4.1915
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile torch==2.13.0 numpy==2.4.6 transformers==5.23.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - 2> "$folder/errors" <<'PY' || { cat "$folder/errors"; exit 1; }
import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
shape = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
model = LlamaForCausalLM(LlamaConfig(vocab_size=65, bos_token_id=None, eos_token_id=None, **shape)).eval()
text, padding = torch.randint(65, (1, 8)), torch.zeros(1, 3, dtype=torch.long)
ids = torch.cat((padding, text), 1)
labels = torch.cat((padding - 100, text), 1)
fewer = labels.clone()
fewer[:, 3] = -100  # the first true character
changed = ids.clone()
changed[:, -1] = (changed[:, -1] + 1) % 65
mask = (torch.arange(11) >= 3).long()[None]
given = dict(attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0))

loss, less, moved = {}, {}, {}
with torch.no_grad():
    alone = model(text, labels=text).loss.item()
    for kind in "sdpa", "eager":
        model.set_attn_implementation(kind)
        loss[kind] = model(ids, labels=labels, **given).loss.item()
        less[kind] = model(ids, labels=fewer, **given).loss.item()
        difference = (model(ids, **given).logits - model(changed, **given).logits).abs().amax(-1)[0]
        moved[kind] = (difference > 1e-4).nonzero().flatten().tolist()
print(f"loss: sdpa {loss['sdpa']:.4f}, eager {loss['eager']:.4f}, the text alone {alone:.4f}")
print(f"logits that change with the last character: sdpa at {moved['sdpa']}, eager at {moved['eager']}")
print(f"without the first true label: sdpa {less['sdpa']:.4f}, eager {less['eager']:.4f}")

assert abs(loss["sdpa"] - loss["eager"]) > 1e-3, "both kinds of attention agree now"
assert moved == {"sdpa": [10], "eager": [0, 1, 2, 10]}, moved
assert all(abs(value - alone) < 1e-4 for value in less.values())
PY
