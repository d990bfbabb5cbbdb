import ctypes
import platform
import subprocess
import sys
from unittest.mock import Mock

import pytest

from training.allocator import M_MMAP_THRESHOLD, keep_freed_memory

FAULTS = """
import resource, sys
import torch
from training.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**24)  # 64 MiB, freed at once
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_that_is_kept_is_not_fetched_anew() -> None:
    """In a process of its own, since the setting stays."""

    def page_faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert page_faults("keep") * 10 < page_faults("leave")


def test_elsewhere_than_on_glibc_memory_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("training.allocator.ctypes", None)
    keep_freed_memory()


def test_a_glibc_that_admits_no_such_size_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Mock()
    library.mallopt.return_value = 0
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.28"))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    keep_freed_memory()
    assert [call.args[0] for call in library.mallopt.call_args_list] == [M_MMAP_THRESHOLD]
