"""Time and memory that one example of a property may take, and how many examples have held."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

import pytest

SECONDS = 20  # on a busy machine
MEMORY = 2**31  # bytes of addresses


class TimeIsUp(BaseException):
    """Passes every `except Exception` of what is tested."""


@contextmanager
def bounded(seconds: float, memory: int) -> Iterator[None]:
    """Raise AssertionError in what takes longer, and MemoryError where `memory` more bytes are not enough."""

    def end(*_: object) -> None:
        raise TimeIsUp

    handler = signal.signal(signal.SIGALRM, end)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        if (statm := Path("/proc/self/statm")).exists():
            taken = int(statm.read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (taken + memory, limits[1]))
        yield
    except TimeIsUp:
        raise AssertionError(f"expected an end within {seconds} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.fixture(autouse=True)
def bound_and_count(request: pytest.FixtureRequest) -> Iterator[None]:
    """Bound each example of a property, and record how many have held."""
    handle, held = getattr(request.function, "hypothesis", None), 0
    if handle is None:  # a test of one example
        yield
        return
    test = handle.inner_test

    @wraps(test)
    def counted(*args: object, **kwargs: object) -> None:
        nonlocal held
        with bounded(SECONDS, MEMORY):
            test(*args, **kwargs)
        held += 1

    handle.inner_test = counted
    yield
    handle.inner_test = test
    request.node.user_properties.append(("examples held", held))
