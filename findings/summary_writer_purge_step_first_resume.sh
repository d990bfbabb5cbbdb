#!/usr/bin/env bash
# SummaryWriter(purge_step=...) hides nothing the first time a run is resumed; the second time it does, in one loader.
#
# Versions:  torch 2.13.0, tensorboard 2.21.0 (its data server 0.7.2). Linux, Python 3.11. Seen on 2026-11-29.
# Expected:  by torch's documentation: a run that crashed after step 150 and is resumed at 100 with purge_step=100
#            loses, in TensorBoard, all events of step 100 and later that were written before.
# Behaviour: at the first resume the loader in Python (--load_fast=false, what EventAccumulator reads too) hides nothing
#            and draws both pasts. At the second resume it obeys. The fast loader, the default, never obeys: it drops
#            the old points of a tag only once that tag is written again, so what is logged rarely keeps its stale
#            points.
# Cause:     purge_step writes a mark "session start". The Python loader takes the first mark of a run for its beginning
#            (tensorboard/backend/event_processing/plugin_event_accumulator.py), and a writer without purge_step leaves
#            none. The data server goes by steps that turn back in a tag.
# Matters:   samples, pictures and evaluations of a future that was undone stay beside those of the one that was
#            trained. Giving the very first writer purge_step=0 makes the Python loader obey from the first resume on.
#
# Output (`rare` was written at 0, 50, 100, 150 and not again, `often` 16 times and at 100 and 110 in each resume):
#   resumed once    Python loader   rare 0, 50, 100, 150   often 18
#   resumed once    fast loader     rare 0, 50, 100, 150   often 12
#   resumed twice   Python loader   rare 0, 50             often 12
#   resumed twice   fast loader     rare 0, 50, 100, 150   often 12
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile torch==2.13.0 numpy==2.4.6 \
    tensorboard==2.21.0 tensorboard-data-server==0.7.2
cat > "$folder/probe.py" <<'PY'
import json
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from tensorboard import program
from torch.utils.tensorboard import SummaryWriter


def write(directory, often, rare=(), **settings):
    time.sleep(1.1)  # event files are read in the order of the second in their names
    with SummaryWriter(str(directory), **settings) as writer:
        for tag, steps in ("often", often), ("rare", rare):
            for step in steps:
                writer.add_scalar(tag, 0.0, step)


def shown(directory, fast):
    board = program.TensorBoard()
    board.configure(["tensorboard", f"--logdir={directory}", "--port=0", f"--load_fast={fast}"])
    address = board.launch() + "data/plugin/scalars/"
    time.sleep(12)  # both loaders read every 5 s
    return [[p[1] for p in json.load(urlopen(f"{address}scalars?run=run&tag={tag}"))] for tag in ("rare", "often")]


found = []
for resumes, title in (1, "resumed once "), (2, "resumed twice"):
    run = Path(sys.argv[1]) / str(resumes) / "run"
    write(run, range(0, 151, 10), rare=(0, 50, 100, 150))
    for _ in range(resumes):
        write(run, (100, 110), purge_step=100)
    for fast, loader in ("false", "Python loader"), ("true", "fast loader"):
        rare, often = shown(run.parent, fast)
        print(f"{title}   {loader:13}   rare {', '.join(map(str, rare)):15}   often {len(often)}")
        found.append((rare, len(often)))
stale = [0, 50, 100, 150]
assert found == [(stale, 18), (stale, 12), ([0, 50], 12), (stale, 12)]
PY
"$folder/venv/bin/python" "$folder/probe.py" "$folder/logs" 2> "$folder/errors" || { cat "$folder/errors"; exit 1; }
