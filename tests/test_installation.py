"""Installation by make and uv, without a network: Python and pip are stubs that log their arguments."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT

CONSTRAINTS = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
# Like Debian's Python, it makes a part of an environment before it sees that it cannot.
PYTHON = """#!/bin/sh
echo "$*" >> calls
case "$*" in *venv*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;; esac
! grep -q "$(basename "$0")" refusing
"""


def test_uv_takes_the_versions_that_pip_takes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["uv"]["constraint-dependencies"] == CONSTRAINTS


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what make reads, and two Pythons."""
    if not shutil.which("make"):
        pytest.skip("there is no make")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("old", "new"):
        (tmp_path / name).write_text(PYTHON)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "refusing").touch()
    return tmp_path


def make(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (clone / "calls").write_text("")
    env = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}  # of the make that tests
    return subprocess.run(
        ["make", *arguments], cwd=clone, env=env, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("failing", ["old", "python"])  # the Python that makes the environment; the pip in it
def test_a_failed_installation_is_repeated_from_scratch_with_another_python(clone: Path, failing: str) -> None:
    (clone / "refusing").write_text(failing)
    done = make(clone, "train", "PYTHON=./old")
    assert done.returncode == 2
    assert re.search(r"requires-python = .*apt install python3-venv.*\bmake train PYTHON=", done.stderr, re.DOTALL)
    (clone / "refusing").write_text("old")
    assert make(clone, "train", "PYTHON=./new").returncode == 0
    venv, pip, train = (clone / "calls").read_text().splitlines()
    assert (venv, train) == ("-m venv --clear .venv", "train.py")
    assert pip == "-m pip install --constraint constraints.txt --editable ."
    assert make(clone, "train", "PYTHON=./old").returncode == 0
    assert (clone / "calls").read_text() == "train.py\n"


def test_make_does_not_recreate_an_existing_environment(clone: Path) -> None:
    (clone / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(clone / "old", clone / ".venv" / "bin" / "python")
    assert make(clone, "train").returncode == 0
    assert "venv" not in (clone / "calls").read_text()


def test_the_build_of_torch_for_cpus_comes_from_its_own_index(clone: Path) -> None:
    (torch,) = (line for line in CONSTRAINTS if line.startswith("torch=="))
    assert (
        f"--extra-index-url https://download.pytorch.org/whl/cpu {torch}+cpu " in make(clone, "-n", "TORCH=cpu").stdout
    )
