"""How much memory a step needs, told alike on every device by watching its tensors; and what to do if it is short."""

import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from errors import UserError
from model.config import DecoderConfig

GIB = 2**30
BYTES_A_WEIGHT = 12  # itself, its gradient and at least one number of the optimizer's, in fp32


def peak_bytes(step: Callable[[], object]) -> int:
    """The most bytes of tensors alive at once while `step` runs, its backward passes too, beyond those alive before.

    A storage counts once, however many views it has. Scratch memory inside a kernel is not seen, nor what the allocator
    holds in reserve. Where gradients of several paths meet, one tensor more may count than is needed unwatched.
    """
    with _Watch() as watch:
        step()
    return watch.peak


@contextmanager
def explain_out_of_memory(model: DecoderConfig, characters: int, device: torch.device) -> Iterator[None]:
    """Raise UserError, with numbers and what to turn down, where memory does not suffice.

    Before anything is allocated, if the weights of `model` alone are too many; `characters`: in a training step.
    """
    weights = model.block_parameter_count()
    what = f"{weights:,} weights in the blocks ({BYTES_A_WEIGHT * weights / GIB:.1f} GiB at least in training)"
    less = "try a smaller model.width, model.layers or model.context, or training.micro_batch_size below"
    there = total_memory(device)
    if BYTES_A_WEIGHT * weights > there:
        raise UserError(f"model: expected one that fits in the {there / GIB:.1f} GiB of {device}, got {what}; {less}")
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        step = f"steps of {characters:,} characters at once"
        wish = " ".join(str(error).split("\n")[0].split())
        raise UserError(
            f"out of memory: expected {what} and {step} to fit in the {there / GIB:.1f} GiB of {device}, got: {wish}; "
            f"{less}"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says so. torch has no type of its own for a CPU's."""
    told = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return told or isinstance(error, MemoryError | torch.OutOfMemoryError)


def total_memory(device: torch.device) -> float:
    """Bytes of `device`, or infinity where they are not known."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # Windows
        return float("inf")


class _Watch(TorchDispatchMode):
    """Sees every operation below autograd, and so the tensors of the backward pass as well."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # it has no types
        self.live = 0  # bytes
        self.peak = 0  # bytes
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        # What an operation takes without any before it having made it was there before.
        self._known.update(_storages((args, kwargs)))
        result = func(*args, **kwargs)
        for storage in _storages(result):
            if storage not in self._known:
                self._known.add(storage)
                self._born(storage)
        return result

    def _born(self, storage: torch.UntypedStorage) -> None:
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._died, size)

    def _died(self, size: int) -> None:
        self.live -= size


def _storages(tree: object) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
