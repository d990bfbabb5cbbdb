"""The most memory that a step takes, counted alike on every device by watching its tensors."""

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_bytes(step: Callable[[], object]) -> int:
    """The most bytes of tensors alive at once while `step` runs, its backward passes too, beyond those alive before.

    A storage counts once, however many views it has. Scratch memory inside a kernel is not seen, nor what the allocator
    holds in reserve. Where gradients of several paths meet, one tensor more may count than is needed unwatched.
    """
    with _Watch() as watch:
        step()
    return watch.peak


class _Watch(TorchDispatchMode):
    """Sees every operation below autograd, and so the tensors of the backward pass as well."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # it has no types
        self.live = 0  # bytes
        self.peak = 0  # bytes
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Callable[..., object], types: object, args: Any = (), kwargs: Any = None
    ) -> object:
        kwargs = kwargs or {}
        # What an operation takes without any before it having made it was there before.
        self._known.update(_storages((args, kwargs)))
        result = func(*args, **kwargs)
        for storage in _storages(result):
            if storage not in self._known:
                self._known.add(storage)
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self._freed, storage.nbytes())
        return result

    def _freed(self, size: int) -> None:
        self.live -= size


def _storages(tree: object) -> Iterator[torch.UntypedStorage]:
    return (leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
