import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from cli.overrides import quote
from terminal import command_line
from tests.commands.helpers import ROOT, TINY

COMMANDS = {
    "help": ("train.py", "--help"),
    "sample help": ("sample.py", "--help"),
    "configuration": ("train.py", "--cfg", "job"),
    "information": ("train.py", "--info"),
    "completion": ("train.py", "-sc", "install=bash"),
    "run": ("train.py", *TINY, "hydra.run.dir=run"),
    "failing run": ("train.py", *TINY, "data.path=missing.txt"),
}


@pytest.mark.parametrize(
    ("typed", "texts"),
    [("stop=a, 'b'", ["a, 'b'"]), ("stop=\n\n", ["\n\n"]), ("stop=[a,'b,c']", ["a", "b,c"]), ("stop=]", ["]"])],
)
def test_a_free_text_is_a_list_of_one_unless_it_begins_as_a_list(typed: str, texts: list[str]) -> None:
    values = OverridesParser.create().parse_override(quote(typed, (), ("stop",))).value()
    assert isinstance(values, list)
    assert [getattr(value, "text", value) for value in values] == texts


@pytest.mark.parametrize("argument", ["prompt=null", "count=[1]", "-m", "--help"])
def test_other_arguments_are_left_alone(argument: str) -> None:
    assert quote(argument, ("prompt",)) == argument


@pytest.mark.parametrize("case", COMMANDS)
def test_a_command_whose_output_nobody_reads_ends_as_it_would(tmp_path: Path, case: str) -> None:
    command = [sys.executable, "-W", "error", str(ROOT / COMMANDS[case][0]), *COMMANDS[case][1:]]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    if case == "run":  # whose progress nobody reads either
        process.stderr.close()
        assert process.wait(60) == 0
        assert (tmp_path / "run" / "summary.json").exists()
    else:
        errors = process.stderr.read()
        process.stderr.close()
        assert process.wait(60) == (2 if case == "failing run" else 0)
        assert errors.count(b"\n") == (1 if case == "failing run" else 0), errors


def test_commands_to_copy_are_quoted_for_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command_line("python", "resume=it's a run").endswith("""python 'resume=it'"'"'s a run'""")
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert command_line("tensorboard", "--logdir", "runs") == "uv run tensorboard --logdir runs"
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(shutil, "which", lambda _: None)  # from Python 3.12 on it calls Windows there
    assert command_line("python", "resume=it's a run").endswith('python "resume=it\'s a run"')


def test_an_error_of_the_program_keeps_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(
        "from functools import partial\n"
        "from cli.command import Command\n"
        "@partial(Command, name='sample')\n"
        "def main(config, job):\n"
        "    raise ValueError('our fault')\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "faulty.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.rstrip().endswith("ValueError: our fault")
