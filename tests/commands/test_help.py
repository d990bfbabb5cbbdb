import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.helpers import ROOT, call, run


@pytest.mark.parametrize("command", ["train", "sample"])
def test_help_is_a_page_for_a_newcomer(tmp_path: Path, command: str) -> None:
    done = run(command, "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"python {command}.py [name=value ...]")
    assert "Examples:" in done.stdout
    if command == "train":
        assert "data: enwik8, python_stdlib, text8, tiny_shakespeare\n" in done.stdout
        presets = "enwik8_gpu, laptop, position_study, rotary, scoring_study, shakespeare_cpu, shakespeare_gpu"
        assert f"experiment: {presets}\n" in done.stdout
    assert len(done.stdout.splitlines()) <= 52
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_shell_is_told_which_there_are(tmp_path: Path) -> None:
    done = call("-sc", "install=csh", folder=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"train\.py: .*'csh' found, available : bash fish zsh\n", done.stderr)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("model.wi", ["model.width="]), ("experiment=shakespeare_c", ["experiment=shakespeare_cpu"])],
)
def test_the_shell_completes_names_and_presets_without_waiting_for_torch(
    tmp_path: Path, typed: str, completed: list[str]
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('torch is slow')")
    line = f"train.py {typed}"
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", "-sc", "query=bash"],
        cwd=tmp_path,
        env={"COMP_LINE": line, "COMP_POINT": str(len(line)), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == completed, done.stderr
