"""What `sample.py` sends where, with a model that has learned what terminals obey."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from terminal import visible
from tests.commands.helpers import ROOT, run

UNRULY = "a\x1b[2J\r\x9b1m\x7fé\tb\n"


@pytest.fixture(scope="module")
def unruly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, of a name just as bad, that knows next to nothing but these characters."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "text.txt").write_bytes(UNRULY.encode() * 200)
    arguments = ["data.path=text.txt", "training.steps=1", "model.layers=1", "model.width=16", "model.context=16"]
    done = run("train", *arguments, "runtime.device=cpu", "hydra.run.dir=trained", folder=folder)
    assert done.returncode == 0, done.stderr
    (folder / "trained").rename(folder / "run\x1b[2J")
    return folder


def sent(unruly: Path, arguments: list[str], terminal: bool) -> str:
    """To standard output."""
    import tty  # Windows has none

    its_end: int
    reading, its_end = os.openpty() if terminal else os.pipe()
    if terminal:
        tty.setraw(its_end)  # or newlines would become what is looked for
    command = [
        sys.executable,
        str(ROOT / "sample.py"),
        "checkpoint=run\x1b[2J",
        "length=200",
        "temperature=3",
        *arguments,
    ]
    subprocess.run(command, cwd=unruly, stdout=its_end, stderr=subprocess.PIPE, check=True, timeout=60)
    os.close(its_end)
    content = b""
    with suppress(OSError):  # the end of a terminal
        while piece := os.read(reading, 2**16):
            content += piece
    os.close(reading)
    return content.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize("arguments", [[], ["count=2"], [f"prompt={UNRULY}"]], ids=["streamed", "several", "prompt"])
def test_a_terminal_shows_what_a_pipe_gets_exactly(unruly: Path, arguments: list[str]) -> None:
    exact, shown = (sent(unruly, arguments, terminal) for terminal in (False, True))
    assert {*"\x1b\r\x9b\x7f"} < {*exact}
    assert not {*"\x1b\r\x9b\x7f"} & {*shown}
    assert shown == visible(exact)


def test_a_file_gets_the_exact_characters(unruly: Path, tmp_path: Path) -> None:
    done = run("sample", "checkpoint=run\x1b[2J", f"prompt={UNRULY}", f"output={tmp_path}/text.txt", folder=unruly)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "text.txt").read_bytes().startswith(UNRULY.encode())


def test_messages_are_safe_wherever_they_go(unruly: Path) -> None:
    done = run("sample", "checkpoint=run\x1b[2J", "length=5", "inspect=true", folder=unruly)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stderr
    assert done.stderr.count(r"run\x1b[2J/") == 3
