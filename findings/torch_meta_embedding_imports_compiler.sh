#!/usr/bin/env bash
# torch's meta device, which is there to build a model for nothing, imports torch's compiler for an nn.Embedding.
#
# Versions:  torch 2.13.0 on a CPU (Linux x86-64, Python 3.11). Seen on 2026-11-30.
# Expected:  "meta" tensors have no data, so that a module built under torch.device("meta") costs microseconds: programs do
#            so to learn the shapes of a checkpoint before they load it. nn.Linear does.
# Behaviour: its initialisation draws uniformly, which has a meta kernel. That of nn.Embedding, and nn.init.normal_ in any
#            module, runs a decomposition in Python, and its first call imports torch._dynamo and sympy: some 800 modules,
#            which together take as long as `import torch` again, once a process. torch.arange, by which tables of
#            positions begin, imports sympy and 500 modules, half of that time.
# Matters:   a command line that checks a file's shapes so takes twice as long to its first answer, and nothing in a
#            profile of the program's own code says why. Building on the CPU is faster up to millions of weights.
#
# Output (the ratios differ from run to run, on a busy machine more):
#   Linear     False False    1 modules, 0.0 of the time of import torch
#   arange     False True   488 modules, 0.7 of the time of import torch
#   Embedding  True  True   823 modules, 1.4 of the time of import torch
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile torch==2.13.0 numpy==2.4.6
cat > "$folder/build.py" <<'PY'
import sys
import time

start = time.perf_counter()
import torch
from torch import nn

imported, modules = time.perf_counter() - start, len(sys.modules)
start = time.perf_counter()
with torch.device("meta"):
    {"Linear": lambda: nn.Linear(8, 8), "arange": lambda: torch.arange(8), "Embedding": lambda: nn.Embedding(8, 8)}[sys.argv[1]]()
took, more = time.perf_counter() - start, len(sys.modules) - modules
compiler, sympy = "torch._dynamo" in sys.modules, "sympy" in sys.modules
print(f"{sys.argv[1]:10} {compiler!s:5} {sympy!s:5} {more:4} modules, {took / imported:.1f} of the time of import torch")
expected = {"Linear": (False, False), "arange": (False, True), "Embedding": (True, True)}[sys.argv[1]]
assert (compiler, sympy) == expected and (more > 500) == (sys.argv[1] == "Embedding"), (compiler, sympy, more)
PY
for what in Linear arange Embedding; do "$folder/venv/bin/python" "$folder/build.py" "$what"; done
