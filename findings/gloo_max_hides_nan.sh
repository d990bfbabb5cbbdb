#!/usr/bin/env bash
# all_reduce(MAX) over gloo keeps or drops a NaN depending on which process holds it, and where in the tensor it stands.
#
# Versions:  torch 2.13.0, backend gloo, 2 processes on a CPU (Linux x86-64, Python 3.11). Seen on 2026-11-29.
# Expected:  torch.max, torch.amax and torch.maximum give NaN if there is one, numpy's as well, and ReduceOp.SUM does
#            here. So the largest loss or gradient norm of all processes is NaN if any of them has diverged; or, as in
#            C's fmax, never.
# Behaviour: neither. A single number is NaN if process 0 has it, and the other's number if process 1 has it. Of a
#            tensor that is NaN throughout in one process, one part comes out NaN and the other not. MIN is alike. All
#            processes get the same, which makes it look right.
# Cause:     gloo compares what has come from a neighbour in the ring with its own, and a comparison with NaN is false;
#            which of the two stays depends on the order, and each part of a tensor starts at another process.
# Matters:   "stop everywhere if the worst loss is not finite" works or not by rank: half of all failures go unseen
#            here, more with more processes. SUM, or MAX over isfinite() as a number, is reliable.
#
# Output:
#   NaN in process 0   one number: MAX nan MIN nan SUM nan   five: MAX 4 nan, 1 numbers
#   NaN in process 1   one number: MAX 1.0 MIN 1.0 SUM nan   five: MAX 1 nan, 4 numbers
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile torch==2.13.0 numpy==2.4.6
cat > "$folder/probe.py" <<'PY'
import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def reduced(rank, size, holder, op):
    value = torch.full((size,), float("nan") if rank == holder else rank + 1.0)
    dist.all_reduce(value, op)
    return value


def process(rank, processes, meeting):
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=processes)
    for holder in range(processes):
        one = {op: reduced(rank, 1, holder, getattr(dist.ReduceOp, op)).item() for op in ("MAX", "MIN", "SUM")}
        five = reduced(rank, 5, holder, dist.ReduceOp.MAX).isnan().sum().item()
        if rank == 0:
            listed = " ".join(f"{op} {number}" for op, number in one.items())
            print(f"NaN in process {holder}   one number: {listed}   five: MAX {five} nan, {5 - five} numbers")
        lost = {op for op, number in one.items() if number == number}
        assert lost == (set() if holder == 0 else {"MAX", "MIN"}), lost
        assert 0 < five < 5
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(process, (2, os.path.join(os.path.dirname(os.path.abspath(__file__)), "meeting")), nprocs=2)
PY
"$folder/venv/bin/python" "$folder/probe.py"
