"""A trained run that the tests of both commands share."""

from pathlib import Path

import pytest

from tests.commands.helpers import SHORT, run


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one trained run in it."""
    folder = tmp_path_factory.mktemp("home")
    done = run("train", *SHORT, folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    (folder / "train.out").write_text(done.stdout)
    return folder


@pytest.fixture(scope="session")
def trained(home: Path) -> Path:
    (summary,) = home.glob("runs/*/*/summary.json")
    return summary.parent
