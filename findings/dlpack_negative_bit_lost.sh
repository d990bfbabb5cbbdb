#!/usr/bin/env bash
# np.from_dlpack gives the imaginary part of a conjugated torch tensor with the wrong sign, where .numpy() refuses.
#
# Versions:  torch 2.13.0, numpy 2.4.6 (Linux x86-64, Python 3.11). Seen on 2026-11-29.
# Expected:  z.conj() and z.conj().imag are views in torch: the memory is that of z, a bit says "conjugate" or "negate".
#            numpy knows neither, so both ways out of torch refuse such a tensor, or hand over what it says.
# Behaviour: .numpy() and np.asarray refuse both. DLPack refuses the conjugate bit, and not the negative one: it hands
#            over the memory as it is. The numbers come out with the other sign; torch.from_dlpack does that even from
#            torch to torch. Nothing is raised, and a sum, a norm or a picture of sizes looks as it should.
# Cause:     only is_conj() is asked before the export (torch/_tensor.py, __dlpack__).
# Matters:   rotary positions are complex factors in many models, and their inverse is the conjugate; its sines, taken
#            for a plot or another framework by the way that NumPy, JAX and CuPy recommend, turn the other way.
#            z.conj().imag.resolve_neg() is safe.
#
# Output:
#   torch              [-0.841471, -0.909297]
#   .numpy()           RuntimeError
#   np.from_dlpack     [0.841471, 0.909297]
#   torch.from_dlpack  [0.841471, 0.909297]
#   np.from_dlpack of the conjugate itself: BufferError
#   np.from_dlpack after resolve_neg()      [-0.841471, -0.909297]
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import torch


def attempt(export, tensor):
    try:
        return [round(float(x), 6) for x in export(tensor)]
    except (RuntimeError, BufferError) as error:
        return type(error).__name__


angles = torch.tensor([1.0, 2.0])
inverse = torch.polar(torch.ones(2), angles).conj()
sines = inverse.imag
right, wrong = [-0.841471, -0.909297], [0.841471, 0.909297]
seen = {
    "torch": attempt(torch.Tensor.tolist, sines),
    ".numpy()": attempt(torch.Tensor.numpy, sines),
    "np.from_dlpack": attempt(np.from_dlpack, sines),
    "torch.from_dlpack": attempt(torch.from_dlpack, sines),
}
for name, result in seen.items():
    print(f"{name:18} {result}")
conjugate, resolved = attempt(np.from_dlpack, inverse), attempt(np.from_dlpack, sines.resolve_neg())
print(f"np.from_dlpack of the conjugate itself: {conjugate}")
print(f"np.from_dlpack after resolve_neg()      {resolved}")

assert sines.is_neg() and seen["torch"] == resolved == right
assert (seen[".numpy()"], conjugate) == ("RuntimeError", "BufferError")
assert seen["np.from_dlpack"] == seen["torch.from_dlpack"] == wrong, "the sign is right now"
PY
