"""The code in docs/sampling.md runs, from top to bottom, beside a finished run."""

import io
import re
from contextlib import chdir, redirect_stdout
from pathlib import Path

from tests.commands.helpers import ROOT

PAGE = (ROOT / "docs" / "sampling.md").read_text(encoding="utf-8")
PIECES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_piece_of_code_runs_after_those_before_it(home: Path) -> None:
    assert len(PIECES) == 9
    with chdir(home), redirect_stdout(io.StringIO()) as out:
        exec("\n".join(PIECES), {})
    assert "bits/char" in out.getvalue()
    assert re.search(r"""^['"]import """, out.getvalue(), re.MULTILINE)
