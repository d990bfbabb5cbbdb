"""One run by several processes, as torchrun starts them: each learns from its part of every batch, the first speaks."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
PATIENCE = timedelta(hours=1)  # with a process that says nothing, such as the first while it writes samples
FAILED = "failed"  # how many have
_store: Any = None  # which all of them see


@dataclass(frozen=True)
class Ranks:
    """Those of a run, as seen by one of them. Alone, it gets back whatever it gives."""

    rank: int = 0  # of this one
    world_size: int = 1
    local_rank: int = 0  # the number of this one on its machine, and so of its GPU

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def broadcast(self, thing: T | None) -> T:
        """What the first process gives, in all of them."""
        box = [thing]
        if self.world_size > 1:
            dist.broadcast_object_list(box, src=0)
        return cast(T, box[0])

    def in_turn(self, make: Callable[[], T]) -> T:
        """What each makes for itself: the first on each machine before the others there, which may find it made."""
        if self.local_rank:
            self.mean(torch.zeros(()))  # waits for all
        made = make()
        if not self.local_rank:
            self.mean(torch.zeros(()))
        return made

    def mean(self, tensor: Tensor) -> Tensor:
        """Of the tensors that all give, in all of them."""
        if self.world_size > 1:
            dist.all_reduce(tensor)
            tensor /= self.world_size
        return tensor

    def any_signal(self, wish: Signals | None) -> Signals | None:
        """The signal that has come to any of them, if one has: they must end at the same step."""
        if self.world_size == 1:
            return wish
        number = torch.tensor(wish or 0)
        dist.all_reduce(number, dist.ReduceOp.MAX)
        return Signals(int(number)) if number else None

    def wrap_ddp(self, model: nn.Module) -> nn.Module:
        """`model` with the weights of the first process, and gradients that are the mean of all.

        They are gathered as the backward pass makes them, but for the pass of a part that is not the `last_of` a step.
        """
        if self.world_size == 1:
            return model
        # Buffers are tables, the same in all of them. The setting has another name from torch 2.13 on.
        names = signature(DistributedDataParallel).parameters
        unsynced: Any = {("forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"): False}
        return DistributedDataParallel(model, gradient_as_bucket_view=True, **unsynced)

    def no_sync(self, model: nn.Module, is_last: bool) -> AbstractContextManager[None]:
        """Around the forward and backward pass of a part of a step."""
        if self.world_size == 1 or is_last:
            return nullcontext()
        return cast(AbstractContextManager[None], cast(DistributedDataParallel, model).no_sync())


SINGLE_PROCESS = Ranks()


def current_ranks() -> Ranks:
    """Those of the run that this process is in."""
    if not dist.is_initialized():
        return SINGLE_PROCESS
    return Ranks(dist.get_rank(), dist.get_world_size(), int(os.environ["LOCAL_RANK"]))


def run_ranks(lead: Callable[[], None], follow: Callable[[Any], object]) -> None:
    """Let the first process `lead`, and the others `follow` in each thing that it shares, until it has come to an end.

    A process that fails ends all, and of its error only it speaks.
    """
    global _store
    store, number, count = next(rendezvous("env://"))
    # torchrun keeps the store when it starts processes again, and what was in it is of those that have ended.
    _store = PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=_store, rank=number, world_size=count, timeout=PATIENCE)
    ranks, nothing = current_ranks(), cast(Any, None)
    try:
        if ranks.is_first:
            try:
                lead()
            except SystemExit as end:
                if end.code:
                    raise
            ranks.broadcast(nothing)
        else:
            with _silence():
                while task := ranks.broadcast(nothing):
                    follow(task)
    except UserError:
        raise  # who tells it asks whether to
    except Exception:
        if not is_first_failure():
            sys.exit(1)
        raise
    gc.collect()  # a spread model is in a cycle, and holds threads that must end before the process does
    dist.destroy_process_group()


@contextmanager
def explain_lost_rank() -> Iterator[None]:
    """Raise UserError where a process has ended while this one relied on it."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise UserError("expected all processes of the run to go on, got one that ended") from error


def is_first_failure() -> bool:
    """Whether no other process failed before this one, whose failing may be but what comes of that. To ask once."""
    try:
        return _store is None or _store.add(FAILED, 1) == 1
    except RuntimeError:  # the store went with the process that kept it
        return False


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing that this process says is heard inside, whatever says it."""
    kept = [(stream, os.dup(stream)) for stream in (1, 2)]
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream, _ in kept:
        os.dup2(nothing, stream)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, copy in kept:
            os.dup2(copy, stream)
            os.close(copy)
        os.close(nothing)
