#!/usr/bin/env bash
# safetensors.mlx.save_file writes an MLX array that was transposed once, and computed with since, in the wrong order.
#
# Versions:  safetensors 0.8.0, mlx 0.32.4 on a CPU (Linux x86-64, Python 3.11). Seen on 2026-11-29.
# Expected:  what is loaded is what was saved, as with mlx.core.save_safetensors, or an error: the documentation asks
#            for contiguous tensors, and safetensors.torch raises for others.
# Behaviour: the shape is right, the order of the numbers is that before the transposition. No error, at saving or at
#            loading. Not only a view is hit: w.T * 2 and w.T.astype(float16) are new arrays, and come out wrong as
#            well; w.T @ x does not. safetensors 0.7.0 is right.
# Cause:     since 0.8.0 safetensors/numpy.py hands the address of an array's memory over, without asking for its
#            strides. MLX computes elementwise in the order that its input has in memory, so a result keeps the
#            transposed order, and np.asarray shows it with strides.
# Matters:   checkpoints of peers are converted just so, transposing projections and changing their dtype. The model
#            then loads, runs and talks nonsense, square matrices included. MLX has no strides that one could look at
#            before. mlx.core.save_safetensors, or np.ascontiguousarray with safetensors.numpy, is right.
#
# Output:
#                          safetensors 0.8.0   safetensors 0.7.0   mlx.core
#   w                      right               right               right
#   w.T                    wrong               right               right
#   w.T * 2                wrong               right               right
#   w.T.astype(float16)    wrong               right               right
#   w.T @ w                right               right               right
#   w.T with 0.8.0: [[0, 3], [1, 4], [2, 5]] is read as [[0, 1], [2, 3], [4, 5]]
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile safetensors==0.8.0 "mlx[cpu]==0.32.4" numpy==2.4.6
"$folder/venv/bin/pip" install -q --no-compile --no-deps --target "$folder/before" safetensors==0.7.0
cat > "$folder/probe.py" <<'PY'
import json
import sys

import mlx.core as mx
import safetensors.mlx

path = sys.argv[1]
w = mx.arange(6.0).reshape(2, 3)
arrays = {"w": w, "w.T": w.T, "w.T * 2": w.T * 2, "w.T.astype(float16)": w.T.astype(mx.float16), "w.T @ w": w.T @ w}


def result(save, array):
    save(path, {"w": array})
    read = mx.load(path)["w"]
    assert read.shape == array.shape and read.dtype == array.dtype
    return "right" if mx.array_equal(read, array) else "wrong", read.astype(mx.int32).tolist()


ways = {
    safetensors.__version__: lambda path, arrays: safetensors.mlx.save_file(arrays, path),
    "mlx.core": mx.save_safetensors,
}
print(json.dumps({way: {name: result(save, array) for name, array in arrays.items()} for way, save in ways.items()}))
PY
"$folder/venv/bin/python" "$folder/probe.py" "$folder/w.safetensors" > "$folder/now"
PYTHONPATH="$folder/before" "$folder/venv/bin/python" "$folder/probe.py" "$folder/w.safetensors" > "$folder/before.json"
"$folder/venv/bin/python" - "$folder/now" "$folder/before.json" <<'PY'
import json
import sys

now, before = (json.load(open(path)) for path in sys.argv[1:])
ways = now["0.8.0"], before["0.7.0"], now["mlx.core"]
print(f"{'':22} safetensors 0.8.0   safetensors 0.7.0   mlx.core")
for name in ways[0]:
    found = [way[name][0] for way in ways]
    print("{:22} {:19} {:19} {}".format(name, *found))
    wrong = name in ("w.T", "w.T * 2", "w.T.astype(float16)")
    assert found == ["wrong" if wrong else "right", "right", "right"], "it is written otherwise now"
right, read = (way["w.T"][1] for way in (ways[2], ways[0]))
print(f"w.T with 0.8.0: {right} is read as {read}")
assert sum(right, []) != sum(read, []) and sorted(sum(right, [])) == sorted(sum(read, []))
PY
