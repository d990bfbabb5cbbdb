"""How many cases each property gets, what a case may take, and how many ran.

By default they are few, and the same each time. FUZZ_CASES says how many all properties get together, which are random
then: `python -m bench.fuzz` sets it, and tells pytest the seed.
"""

import math
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings

FEW = 500  # of all properties together
ALL = 10_000  # to which the shares of the properties refer
SECONDS = 20  # that a case may take, on a busy machine
MEMORY = 2**31  # bytes of addresses that it may take


@dataclass
class Ran:
    """How many cases of the property that is running have held."""

    cases: int = 0


class TooLong(BaseException):
    """A case has had its time."""


ran = Ran()
_asked = os.environ.get("FUZZ_CASES")
_settings = settings(
    deadline=None,
    derandomize=_asked is None,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],  # to explain takes longer than to find
    print_blob=_asked is not None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def cases(share: int) -> Callable[[Any], Any]:
    """Give a property so many of ALL cases; count and bound each."""

    def decorate(test: Any) -> Any:
        inner = test.hypothesis.inner_test

        @wraps(inner)
        def counted(*args: object, **kwargs: object) -> None:
            with bounded(SECONDS, MEMORY):
                inner(*args, **kwargs)
            ran.cases += 1

        test.hypothesis.inner_test = counted
        return settings(_settings, max_examples=math.ceil(share * int(_asked or FEW) / ALL))(test)

    return decorate


@contextmanager
def bounded(seconds: float, memory: int) -> Iterator[None]:
    """Raise AssertionError in what takes longer, and MemoryError in what takes more than it has and `memory` bytes."""

    def end(*_: object) -> None:
        raise TooLong

    handler = signal.signal(signal.SIGALRM, end)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        if (statm := Path("/proc/self/statm")).exists():
            taken = int(statm.read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (taken + memory, limits[1]))
        yield
    except TooLong:
        raise AssertionError(f"expected an end within {seconds} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, limits)
