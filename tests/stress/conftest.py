"""Length of `make stress`, and the text its runs train on. One short case of each kind is marked slow instead."""

import logging
import os
from pathlib import Path

import pytest

from tests.stress.process import write_text

KILLS = int(os.environ.get("KILLS", "100"))
STEPS = int(os.environ.get("STEPS", "50000"))  # of the soak


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it reports each resumed run
    file = tmp_path_factory.mktemp("text") / "text.txt"
    write_text(file)
    return file
