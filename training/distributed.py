"""Data-parallel training by torch.distributed: every rank computes its part of each batch, rank 0 alone writes."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from inspect import signature
from signal import Signals
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import PrefixStore  # type: ignore[attr-defined] # it is, in the documentation
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from errors import UserError

T = TypeVar("T")
TIMEOUT = timedelta(hours=1)  # of a collective: rank 0 may write samples meanwhile
_store: Any = None  # shared by all ranks


@dataclass(frozen=True)
class Ranks:
    """The process group, as one rank sees it. Of a single process every operation is the identity."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0  # on its machine: the index of its GPU

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def broadcast(self, value: T | None) -> T:
        """Rank 0's `value`, on every rank."""
        box = [value]
        if self.world_size > 1:
            dist.broadcast_object_list(box, src=0)
        return cast(T, box[0])

    def in_turn(self, make: Callable[[], T]) -> T:
        """Call `make` on each machine's first rank, then on the others, which may find files that it has made."""
        if self.local_rank:
            self.mean(torch.zeros(()))  # a barrier
        made = make()
        if not self.local_rank:
            self.mean(torch.zeros(()))
        return made

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over ranks, in place."""
        if self.world_size > 1:
            dist.all_reduce(tensor)
            tensor /= self.world_size
        return tensor

    def any_signal(self, signal: Signals | None) -> Signals | None:
        """The signal that any rank has received, on every rank: all must stop at the same step."""
        if self.world_size == 1:
            return signal
        number = torch.tensor(signal or 0)
        dist.all_reduce(number, dist.ReduceOp.MAX)
        return Signals(int(number)) if number else None

    def wrap_ddp(self, model: nn.Module) -> nn.Module:
        """`model` with rank 0's weights, whose backward pass averages gradients over ranks."""
        if self.world_size == 1:
            return model
        # Buffers are tables, equal on every rank. The option has another name from torch 2.13 on.
        names = signature(DistributedDataParallel).parameters
        unsynced: Any = {("forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"): False}
        return DistributedDataParallel(model, gradient_as_bucket_view=True, **unsynced)

    def no_sync(self, model: nn.Module, is_last: bool) -> AbstractContextManager[None]:
        """Around a micro-batch: gradients are averaged in the backward pass of a step's last one."""
        if self.world_size == 1 or is_last:
            return nullcontext()
        return cast(AbstractContextManager[None], cast(DistributedDataParallel, model).no_sync())


SINGLE_PROCESS = Ranks()


def current_ranks() -> Ranks:
    """The process group of this process."""
    if not dist.is_initialized():
        return SINGLE_PROCESS
    return Ranks(dist.get_rank(), dist.get_world_size(), int(os.environ["LOCAL_RANK"]))


def run_ranks(work: Callable[[], T]) -> T:
    """Call `work` in the process group that torchrun's environment describes; what other ranks than 0 print is dropped.

    After an exception the group is left as it is, for other ranks may be waiting: who started them ends them.
    """
    global _store
    _store, rank, world_size = next(rendezvous("env://"))
    # torchrun keeps the store when it restarts processes: keys of an earlier attempt must not count in this one.
    _store = PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", _store)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=_store, rank=rank, world_size=world_size, timeout=TIMEOUT)
    with nullcontext() if rank == 0 else silence():
        result = work()
    gc.collect()  # a DDP model is in a reference cycle, and its threads must end before the process does
    dist.destroy_process_group()
    return result


@contextmanager
def explain_lost_rank() -> Iterator[None]:
    """Raise UserError where a collective fails because another rank has ended."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise UserError("expected all processes of the run to go on, got one that ended") from error


def is_first_failure() -> bool:
    """Whether no other rank has failed before this one, which may have failed because of it. To be called once."""
    try:
        return _store is None or _store.add("failures", 1) == 1
    except RuntimeError:  # the store has ended with the process that held it
        return False


@contextmanager
def silence() -> Iterator[None]:
    """Drop what Python prints."""
    with open(os.devnull, "w") as devnull, redirect_stdout(devnull), redirect_stderr(devnull):
        yield
