"""What tests of several rooms share."""

from pathlib import Path

import pytest
from hypothesis import settings

# The same cases each time, however slow the machine: a failure is then a fault of the code.
settings.register_profile("charscope", deadline=None, derandomize=True)
settings.load_profile("charscope")

ROOT = Path(__file__).parent.parent
SHAKESPEARE = ROOT.parent / "shared" / "corpora" / "tiny_shakespeare.txt"


@pytest.fixture(scope="session")
def shakespeare() -> str:
    """Tiny Shakespeare, which the project does not carry."""
    if not SHAKESPEARE.exists():
        pytest.skip("tiny Shakespeare is not at ../shared/corpora/tiny_shakespeare.txt")
    return SHAKESPEARE.read_text(encoding="utf-8")
