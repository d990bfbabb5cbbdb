"""`sample.py` with a model, and a run's name, of characters that terminals obey."""

from pathlib import Path

import pytest

from terminal import visible
from tests.commands.helpers import call, sample

UNRULY = "a\x1b[2J\b\x9b1m\x7fé\tb\n"
RUN = "checkpoint=run\x1b[2J"


@pytest.fixture(scope="module")
def unruly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of such a name, whose vocabulary is little but such characters."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "text.txt").write_bytes(UNRULY.encode() * 200)
    arguments = ["data.path=text.txt", "training.steps=1", "model.layers=1", "model.width=16", "model.context=16"]
    done = call(*arguments, "runtime.device=cpu", "hydra.run.dir=trained", folder=folder)
    assert done.returncode == 0, done.stderr
    (folder / "trained").rename(folder / "run\x1b[2J")
    return folder


@pytest.mark.parametrize("arguments", [[], ["count=2"], [f"prompt={UNRULY}"]], ids=["streamed", "several", "prompt"])
def test_a_terminal_shows_what_a_pipe_gets_exactly(unruly: Path, arguments: list[str]) -> None:
    exact, shown = (
        sample(RUN, "length=200", "temperature=3", *arguments, folder=unruly, terminal=terminal).stdout
        for terminal in (False, True)
    )
    assert {*"\x1b\b\x9b\x7f"} < {*exact}
    assert not {*"\x1b\b\x9b\x7f"} & {*shown}
    assert shown == visible(exact)


def test_a_file_gets_the_exact_characters(unruly: Path, tmp_path: Path) -> None:
    done = sample(RUN, f"prompt={UNRULY}", f"output={tmp_path}/text.txt", folder=unruly)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "text.txt").read_bytes().startswith(UNRULY.encode())


def test_messages_are_safe_wherever_they_go(unruly: Path) -> None:
    done = sample(RUN, "length=5", "inspect=true", folder=unruly)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stderr
    assert done.stderr.count(r"run\x1b[2J/") == 3
    refused = sample(RUN, "prompt=☃", folder=unruly)  # names the vocabulary
    assert refused.returncode == 2
    assert not {*"\x1b\b\x9b\x7f"} & {*refused.stderr}
