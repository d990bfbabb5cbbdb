"""docs/tour.ipynb runs from its first cell to its last, and what the repository keeps of its outputs is small.

In docs these write them again: `python -m nbconvert --to notebook --inplace --execute tour.ipynb`, then the same with
`--TagRemovePreprocessor.enabled=True --TagRemovePreprocessor.remove_all_outputs_tags=remove_output` for `--execute`.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOUR = Path(__file__).parents[2] / "docs" / "tour.ipynb"
KINDS = ["masked_softmax", "DotProduct", "Distance", "Bilinear", "Additive", "Mean", "MultiHeadAttention"]
KINDS += ["SinusoidalPosition", "LearnedPosition", "RotaryPosition", "rotate", "two_heads", "lecture_head"]


def outputs(notebook: Path) -> list[list[dict[str, Any]]]:
    """Of each cell of code."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]


def test_the_tour_has_each_attention_of_the_textbooks_and_small_outputs() -> None:
    code = TOUR.read_text(encoding="utf-8")
    assert all(re.search(rf"\b{kind}\(", code) for kind in KINDS)
    assert all(len(json.dumps(each)) < 60_000 for each in outputs(TOUR))


@pytest.mark.slow
def test_the_tour_trains_samples_and_shows_heads(tmp_path: Path) -> None:
    for package in "nbconvert", "ipykernel", "matplotlib":
        pytest.importorskip(package)
    given = ["-m", "nbconvert", "--to", "notebook", "--execute", "--output-dir", str(tmp_path), str(TOUR)]
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    ran = subprocess.run([sys.executable, *given], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    shown = outputs(tmp_path / TOUR.name)
    assert any('<iframe srcdoc="' in str(each) for each in shown)
    assert sum("image/png" in str(each) for each in shown) == 11
