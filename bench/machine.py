"""How times and the memory of a process are taken, and how fast the machine is at best."""

import gc
import re
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

Step = Callable[[], object]


@dataclass(frozen=True)
class Protocol:
    """How often a step is repeated for one time. Its median counts, which one interruption does not move."""

    warm_up: int = 1  # calls that are not timed: they compile kernels and fill caches
    repeats: int = 5  # timed calls, at least
    seconds: float = 0.2  # that the timed calls last together, at least


def median_seconds(step: Step, device: torch.device, protocol: Protocol) -> float:
    """The median time of one call of `step`, until the device has finished it."""
    for _ in range(protocol.warm_up):
        seconds_of(step, device)
    times: list[float] = []
    while len(times) < protocol.repeats or sum(times) < protocol.seconds:
        times.append(seconds_of(step, device))
    return statistics.median(times)


def seconds_of(step: Step, device: torch.device) -> float:
    """The time of one call of `step`, until the device has finished it."""
    finish(device)
    start = time.perf_counter()
    step()
    finish(device)
    return time.perf_counter() - start


def finish(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forget_peak(device: torch.device) -> int:
    """Let the peak of memory start anew, where the system can, and return it: what is in use from now on."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):  # Linux alone has it; elsewhere the peak of getting ready stays
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return peak_in_use(device)


def peak_in_use(device: torch.device) -> int:
    """The most memory that was in use since `forget_peak`: what torch allocated on a GPU, else the resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):  # getrusage of a process begins, on Linux, with the peak of the one that spawned it
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        if found := re.search(r"VmHWM:\s+(\d+) kB", status):
            return int(found[1]) * 1024
    import resource  # Windows has none

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def copy_rate(device: torch.device, size: int, protocol: Protocol) -> float:
    """Bytes read and written in a second by copying `size` bytes, which should exceed every cache."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / median_seconds(lambda: target.copy_(source), device, protocol)


def product_rate(device: torch.device, size: int, protocol: Protocol, dtype: torch.dtype = torch.float32) -> float:
    """FLOP in a second by the product of two matrices of (size, size): 2 size^3 of them."""
    left, right, product = torch.randn(3, size, size, device=device, dtype=dtype)
    return 2 * size**3 / median_seconds(lambda: torch.mm(left, right, out=product), device, protocol)
