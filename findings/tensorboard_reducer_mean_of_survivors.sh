#!/usr/bin/env bash
# tensorboard-reducer's mean over seeds leaves out the runs whose loss is NaN, from the step on at which they diverged.
#
# Versions:  tensorboard-reducer 0.4.0, pandas 3.1.1, tensorboard 2.21.0 (Linux x86-64, Python 3.11). Seen on
#            2026-11-30.
# Expected:  by its documentation it applies numpy's mean, std and so on to the runs of one model. numpy's mean is NaN
#            as soon as one run is, and numpy's std divides by the number of runs.
# Behaviour: mean, std, min, max and median are those of the runs that are left, and no warning says how many these are.
#            std divides by one less than the runs: of two runs it is 1.41 times numpy's. The strict checks of tags and
#            steps, on by default, pass, as the NaN is written at every step.
# Cause:     the operation is that of a pandas table by the same name (tensorboard_reducer/reduce.py), which skips NaN
#            and has another divisor.
# Matters:   a setting at which runs diverge is judged by those that did not, as if all had gone well: here the mean
#            falls from 3 to 1 where one of three is lost. A loss of inf, on the other hand, counts.
#
# Output (three runs, the third NaN from step 2 on):
#   step                     0        1        2        3
#   losses               3 3 6    2 2 5  1 1 nan  0 1 nan
#   tb-reducer mean       4.00     3.00     1.00     0.50
#   numpy mean            4.00     3.00      nan      nan
#   tb-reducer std        1.73     1.73     0.00     0.71
#   numpy std             1.41     1.41      nan      nan
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile tensorboard-reducer==0.4.0 pandas==3.1.1 tensorboard==2.21.0 \
  numpy==2.4.6
cd "$folder"
cat > write.py <<'PY'
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

nan = float("nan")
for number, losses in enumerate(([3, 2, 1, 0], [3, 2, 1, 1], [6, 5, nan, nan])):
    writer = EventFileWriter(f"runs/seed_{number}")
    for step, loss in enumerate(losses):
        value = Summary.Value(tag="loss", simple_value=loss)
        writer.add_event(Event(step=step, summary=Summary(value=[value])))
    writer.close()
PY
cat > compare.py <<'PY'
import numpy as np
import pandas as pd

runs = np.array([[3, 3, 6], [2, 2, 5], [1, 1, np.nan], [0, 1, np.nan]])
reduced = pd.read_csv("reduced.csv", header=[0, 1], index_col=0)["loss"]
print("step             ", *(f"{step:8}" for step in range(4)))
print("losses           ", *(f"{' '.join(f'{loss:.0f}' for loss in row):>8}" for row in runs))
for name in "mean", "std":
    numpys, theirs = getattr(np, name)(runs, axis=1), reduced[name].to_numpy()
    for whose, values in ("tb-reducer", theirs), ("numpy", numpys):
        print(f"{whose + ' ' + name:17}", *(f"{value:8.2f}" for value in values))
    assert np.isnan(numpys[2:]).all()
    expected = {"mean": [4, 3, 1, 0.5], "std": [3**0.5, 3**0.5, 0, 0.5**0.5]}[name]
    assert np.allclose(theirs, expected), f"{name} is another now: {theirs}"
PY
venv/bin/python write.py
venv/bin/tb-reducer runs/seed_* -o reduced.csv -r mean,std 2> errors > output || { cat errors output; exit 1; }
! grep -qi nan errors output || { echo "it tells of the NaN now"; exit 1; }
venv/bin/python compare.py
