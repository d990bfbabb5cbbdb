"""What tests of several rooms share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# The same cases each time, however slow the machine: a failure is then a fault of the code.
settings.register_profile("charscope", deadline=None, derandomize=True)
settings.load_profile("charscope")

ROOT = Path(__file__).parent.parent
SHAKESPEARE = ROOT.parent / "shared" / "corpora" / "tiny_shakespeare.txt"


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """As many as before, afterwards: sampling takes one for small models."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shakespeare() -> str:
    """Tiny Shakespeare, which the project does not carry."""
    if not SHAKESPEARE.exists():
        pytest.skip("tiny Shakespeare is not at ../shared/corpora/tiny_shakespeare.txt")
    return SHAKESPEARE.read_text(encoding="utf-8")
