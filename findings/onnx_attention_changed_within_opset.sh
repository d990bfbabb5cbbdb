#!/usr/bin/env bash
# One ONNX file with an Attention operator of opset 23 gives different results, by the release of the runtime alone.
#
# Versions:  onnxruntime 1.26.0 and 1.32.0, onnx 1.21.0 and 1.23.2, on a CPU (Linux x86-64, Python 3.11). Seen on
#            2026-11-29.
# Expected:  a file names its opset so that its meaning stays: a change of behaviour is a new version of the operator
#            (ONNX Versioning), and runtimes keep the old one. And is_causal=1 hides the future.
# Behaviour: with a softcap, onnxruntime up to 1.26 (and onnx.reference up to 1.21) lets each position attend to its
#            future; from 1.27 (1.22) on it does not. For the output of the scores, qk_matmul_output_mode, the numbers 1
#            and 2 changed places: mode 1 lost its mask, with or without a softcap. Mode 0, "the output of qk matmul",
#            differs at present between onnx.reference (after the softcap) and onnxruntime (before it).
# Cause:     the softcap came after the mask in the operator as published, so it made -cap of -inf, and exp(-cap) is not
#            0. This was mended within opsets 23 and 24, together with the numbers of the modes, and the text of old
#            opsets was rewritten, so no documentation of now tells (onnx/reference/ops/op_attention.py, onnx/defs/nn;
#            its "Errata" of opset 23 say that no well-defined result changed).
# Matters:   models with a softcap (Gemma 2 and its kin) lose or gain a look ahead when the runtime is updated; a view
#            of attention built on mode 1 shows other scores. Neither the file nor its checker can tell which was meant.
#
# Output (the first of 4 positions: by how much its result moves as the last value grows by 100, and its scores):
#                           moves   mode 0, softcap   mode 1, softcap   mode 1, without
#   onnxruntime 1.26.0      1.859   [3.99, 5.78]      [3.99, -inf]      [3.99, -inf]
#   onnx 1.21.0             1.859   [3.99, 5.78]      [3.99, -inf]      [3.99, -inf]
#   onnxruntime 1.32.0      0.000   [3.99, 5.78]      [1.93, 1.99]      [3.99, 5.78]
#   onnx 1.23.2             0.000   [1.93, 1.99]      [1.93, 1.99]      [3.99, 5.78]
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for versions in "1.26.0 1.21.0" "1.32.0 1.23.2"; do
  set -- $versions
  python3 -m venv "$folder/$1"
  "$folder/$1/bin/pip" install -q --no-compile "onnxruntime==$1" "onnx==$2" numpy==2.4.6
done
cat > "$folder/probe.py" <<'PY'
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

folder, (of_runtime, of_onnx) = Path(sys.argv[1]), (onnxruntime.__version__, onnx.__version__)
noise = np.random.default_rng(0)
query, key, value = (noise.standard_normal((1, 1, 4, 8)).astype(np.float32) * 2 for _ in range(3))
later = value.copy()
later[0, 0, 3] += 100


def file(mode, softcap):
    """The bytes of the model, written by whichever release comes first and only read by the other."""
    path = folder / f"{mode}-{softcap}.onnx"
    if not path.exists():
        value_info, number = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
        attributes = dict(is_causal=1, softcap=softcap, qk_matmul_output_mode=mode)
        node = onnx.helper.make_node("Attention", ["q", "k", "v"], ["y", "", "", "scores"], **attributes)
        inputs = [value_info(name, number, query.shape) for name in ("q", "k", "v")]
        outputs = [value_info(name, number, None) for name in ("y", "scores")]
        graph = onnx.helper.make_graph([node], "attention", inputs, outputs)
        opset = [onnx.helper.make_opsetid("", 23)]
        onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path.read_bytes()


def runtime(content, inputs):
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, inputs)


def reference(content, inputs):
    return ReferenceEvaluator(onnx.load_from_string(content)).run(None, inputs)


def seen(run, mode, softcap):
    (y, scores), (moved, _) = (run(file(mode, softcap), {"q": query, "k": key, "v": v}) for v in (value, later))
    shown = [round(float(score), 2) if score > -1e30 else -np.inf for score in scores[0, 0, 0, :2]]
    return round(float(np.abs(moved - y)[0, 0, 0].max()), 3), shown


raw, capped, masked = [3.99, 5.78], [1.93, 1.99], [3.99, -np.inf]
new = of_runtime == "1.32.0"
for name, run in (f"onnxruntime {of_runtime}", runtime), (f"onnx {of_onnx}", reference):
    (leak, zero), (_, one), (none, plain) = seen(run, 0, 2.0), seen(run, 1, 2.0), seen(run, 1, 0.0)
    print(f"{name:20} {leak:8.3f}   {zero!s:15}   {one!s:15}   {plain}")
    assert none == seen(run, 3, 0.0)[0] == 0 and seen(run, 0, 0.0)[1] == raw and seen(run, 2, 0.0)[1] == masked
    assert (leak > 1) == (not new), "the future is hidden otherwise now"
    assert (one, plain) == ((capped, raw) if new else (masked, masked)), "mode 1 means something else now"
    assert zero == (capped if new and run is reference else raw), "mode 0 means something else now"
PY
"$folder/1.26.0/bin/python" "$folder/probe.py" "$folder"
"$folder/1.32.0/bin/python" "$folder/probe.py" "$folder"
