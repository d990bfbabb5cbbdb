"""What the properties of this room share: each tells how many cases of it have held."""

from collections.abc import Iterator

import pytest

from tests.fuzz.cases import ran


@pytest.fixture(autouse=True)
def counted(request: pytest.FixtureRequest) -> Iterator[None]:
    """Note it where reports of pytest have it, for bench/fuzz.py."""
    ran.cases = 0
    yield
    request.node.user_properties.append(("cases", ran.cases))
