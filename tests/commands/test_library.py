"""docs/sampling.md cannot rot: its code runs, from top to bottom, beside a finished run."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.commands.helpers import ROOT

PAGE = ROOT / "docs" / "sampling.md"
PIECES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_every_piece_of_code_runs_after_those_before_it(home: Path) -> None:
    assert len(PIECES) == 8
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(PIECES)],
        cwd=home,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "bits/char" in done.stdout
    assert re.search(r"""^['"]import """, done.stdout, re.MULTILINE)
