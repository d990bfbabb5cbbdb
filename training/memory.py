"""Memory: kept for the next step when a step frees it, and errors where it does not suffice."""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from errors import UserError
from model.config import DecoderConfig

GIB = 2**30
BYTES_PER_WEIGHT = 12  # itself, its gradient and at least one number of the optimizer's, in fp32
# Of RuntimeErrors, as torch has no type for a CPU that is out of memory: on Linux and macOS, and on Windows.
OUT_OF_MEMORY = "can't allocate memory", "not enough memory"
# Parameters of glibc's mallopt, from its malloc.h, and the largest size that is not returned when freed.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX, LARGEST_KEPT = -1, -3, -8, 2**30


def keep_freed_memory() -> None:
    """Let glibc keep the memory that a step frees for the next one, instead of fetching fresh pages each time.

    Saves an eighth of a step on a CPU (bench/LOG.md). With another C library, or a glibc that does not admit so large a
    size, all stays as it was: trimming alone would make it worse.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        if library.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT):
            library.mallopt(M_TRIM_THRESHOLD, LARGEST_KEPT)
            library.mallopt(M_ARENA_MAX, 1)  # those of other threads return their pages in spite of both


@contextmanager
def explain_out_of_memory(model: DecoderConfig, characters: int, device: torch.device) -> Iterator[None]:
    """Raise UserError, with numbers and what to turn down, where memory does not suffice.

    Before anything is allocated, if the weights of `model` alone are too many; `characters`: in a training step.
    """
    weights = model.block_parameter_count()
    needed = f"{weights:,} weights in the blocks ({BYTES_PER_WEIGHT * weights / GIB:.1f} GiB at least in training)"
    hint = "try a smaller model.width, model.layers or model.context, or training.micro_batch_size below"
    total = total_memory(device)
    if BYTES_PER_WEIGHT * weights > total:
        raise UserError(f"model: expected one that fits in the {total / GIB:.1f} GiB of {device}, got {needed}; {hint}")
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split("\n")[0].split())
        raise UserError(
            f"out of memory: expected {needed} and steps of {characters:,} characters at once to fit in the "
            f"{total / GIB:.1f} GiB of {device}, got: {reason}; {hint}"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is of a device or a host without enough memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)


def total_memory(device: torch.device) -> float:
    """Bytes of `device`, or infinity where they are not known."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # Windows
        return float("inf")
