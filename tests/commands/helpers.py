"""Both commands as a user runs them, on real text."""

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]


TEXT = f"{sysconfig.get_path('stdlib')}/json/*.py"  # real text that is on every machine


SMALL = ["runtime.device=cpu", "model.layers=2", "model.width=32", "model.context=32", f"data.path={TEXT}"]


SHORT = [
    *SMALL,
    "training.steps=60",
    "training.batch_size=16",
    "training.evaluate_every=30",
    "training.learning_rate=1e-2",
]


def run(command: str, *arguments: str, folder: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", ROOT / f"{command}.py", *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
