#!/usr/bin/env bash
# TensorBoard's slow loader never shows a later event file of a run after the one it was reading has been deleted.
#
# Versions:  tensorboard 2.21.0 (Linux x86-64, Python 3.11), the loader of --load_fast=false, by its EventMultiplexer.
#            Seen on 2026-11-29.
# Expected:  a run's event files are read in the order of their names, and a new one is found at the next reload. What
#            was read of a deleted file may stay or go; what is written afterwards is shown.
# Behaviour: the run stands still for good, in scalars and all else, and nothing is said. Other runs go on. Emptying the
#            file in place of deleting it, or a restart, brings all of it.
# Cause:     each reload first asks the last file for more, and looks for the next file only then. The error of the
#            missing file is caught, and as the folder is still there it is taken for a passing one
#            (backend/event_processing/directory_watcher.py, Load), at every reload.
# Matters:   pruning or compacting the event files of runs that go on, a mirror that deletes what it has replaced, a
#            resumed run that replaces its own last file: the curve ends there, as if training did.
#
# Output (steps of a run that is shown after its first and after its second file):
#   the first file is      at first    after the second
#   deleted                [0, 1, 2]   [0, 1, 2]
#   emptied                [0, 1, 2]   [0, 1, 2, 3, 4, 5]
#   left alone             [0, 1, 2]   [0, 1, 2, 3, 4, 5]
#   deleted, restarted     [3, 4, 5]
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile tensorboard==2.21.0 numpy==2.4.6
cd "$folder"
venv/bin/python - 2> errors <<'PY' || { cat errors; exit 1; }
from pathlib import Path

from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


def write(folder, number, steps):
    with open(folder / f"events.out.tfevents.{number}", "wb") as file:
        for step in steps:
            value = Summary.Value(tag="loss", simple_value=step)
            RecordWriter(file).write(Event(step=step, summary=Summary(value=[value])).SerializeToString())


def shown(multiplexer, logs):
    for _ in range(3):
        multiplexer.AddRunsFromDirectory(str(logs))
        multiplexer.Reload()
    return [event.step for event in multiplexer.Scalars("run", "loss")]


print("the first file is      at first    after the second")
ways = {"deleted": Path.unlink, "emptied": lambda file: file.write_bytes(b""), "left alone": lambda file: None}
for way, change in ways.items():
    logs = Path(way)
    (logs / "run").mkdir(parents=True)
    write(logs / "run", 1, range(3))
    multiplexer = EventMultiplexer()
    first = shown(multiplexer, logs)
    change(logs / "run" / "events.out.tfevents.1")
    write(logs / "run", 2, range(3, 6))
    second = shown(multiplexer, logs)
    print(f"{way:22} {first}   {second}")
    assert first == [0, 1, 2]
    assert second == list(range(3 if way == "deleted" else 6)), "it reads on now"
restarted = shown(EventMultiplexer(), Path("deleted"))
print(f"{'deleted, restarted':22} {restarted}")
assert restarted == [3, 4, 5]
PY
