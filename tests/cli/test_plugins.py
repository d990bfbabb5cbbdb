"""Installed plugins of Hydra that fail, and Pythons that are not supported: one line names them."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import cli
from tests.commands.helpers import ROOT

PROGRAM = """
from functools import partial
from cli.command import Command
partial(Command, name="train", trains=True)(lambda config, job: print("trained with", config.seed))()
"""
BROKEN = "from dataclasses import make_dataclass; make_dataclass('Config', [('values', list, [])])"
ONCE = """
from hydra.plugins.search_path_plugin import SearchPathPlugin

class Once(SearchPathPlugin):
    left = ["once"]

    def manipulate_search_path(self, search_path):
        self.left.pop()
"""


def start(folder: Path, program: str, *arguments: str, plugin: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "hydra_plugins" / "hydra_other").mkdir(parents=True)
    (folder / "hydra_plugins" / "hydra_other" / "config.py").write_text(plugin)
    (folder / "hydra_plugins" / "hydra_other" / "__init__.py").touch()
    path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
    command, env = [sys.executable, "-c", program, *arguments], os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_a_plugin_that_keeps_hydra_from_starting_is_named(tmp_path: Path) -> None:
    done = start(tmp_path, PROGRAM, "--help", plugin=BROKEN)
    assert done.returncode == 2
    assert re.fullmatch(r"train\.py: expected .* got hydra_other, .*; pip uninstall hydra_other\n", done.stderr)


@pytest.mark.parametrize(
    ("arguments", "seeds"), [(["experiment=laptop"], "0"), (["-m", "seed=3,4"], "34"), (["--cfg", "job"], "")]
)
def test_plugins_are_initialized_once(tmp_path: Path, arguments: list[str], seeds: str) -> None:
    done = start(tmp_path, PROGRAM, *arguments, plugin=ONCE)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"trained with (\d)", done.stdout) == list(seeds)


def test_an_unsupported_python_is_named_and_the_package_supports_the_same_ones(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    supported = SpecifierSet(project["requires-python"])
    assert [minor for minor in range(99) if f"3.{minor}" in supported] == list(cli.MINORS)
    done = start(tmp_path, "import sys; sys.version_info = (3, 99, 0); import cli.command")
    assert done.returncode == 2
    assert re.fullmatch(r"expected Python 3\.\d+ to 3\.\d+, got 3\.99; .*\n", done.stderr)
