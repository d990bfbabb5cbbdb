"""Fixtures and settings of all tests."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, settings

# By default the same few examples each time; the profile fuzz (`make fuzz`) draws many new ones.
COMMON = settings(deadline=None, database=None, phases=[Phase.explicit, Phase.generate, Phase.shrink])
settings.register_profile("charscope", COMMON, derandomize=True)
settings.register_profile("fuzz", COMMON, max_examples=850, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "charscope"))

# A shell lets what it starts in the background ignore SIGINT, and every child would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent.parent
SHAKESPEARE = ROOT.parent / "shared" / "corpora" / "tiny_shakespeare.txt"


@pytest.fixture(autouse=True)
def restored_threads() -> Iterator[None]:  # a test's own parameter of this name would take its place
    """Restore the number of threads: sampling takes one for small models."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shakespeare() -> str:
    """Tiny Shakespeare, which the project does not carry."""
    if not SHAKESPEARE.exists():
        pytest.skip("tiny Shakespeare is not at ../shared/corpora/tiny_shakespeare.txt")
    return SHAKESPEARE.read_text(encoding="utf-8")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests passed to `record_property`: the sum of numbers, and each text."""
    totals: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "teardown":
                for name, value in report.user_properties:
                    if isinstance(value, int):
                        totals[name] += value
                    else:
                        terminalreporter.write_line(f"{name}: {value}")
    if totals:
        terminalreporter.write_line(", ".join(f"{total:,} {name}" for name, total in totals.items()))
