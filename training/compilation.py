"""torch.compile for training steps, tried before training begins."""

import time
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from errors import UserError
from training.config import Compile
from training.device import Runtime


def compiled(
    model: nn.Module, loss: Callable[[nn.Module], Tensor], runtime: Runtime, say: Callable[[str], None]
) -> nn.Module:
    """What training steps are to call: `model` itself, or its compiled twin, which has the same weights.

    The twin is compiled here, by one `loss` and its gradients, which are thrown away. Where it cannot be, `say` gets
    the reason. Raises UserError instead if `runtime.compile` is on.
    """
    if runtime.compile is Compile.off:
        return model
    started = time.perf_counter()
    try:
        torch.compiler.reset()  # or the runs of a sweep would share one allowance of compilations
        twin = cast(nn.Module, torch.compile(model))
        loss(twin).backward()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a compiler can fail in any way
        reason = f"torch.compile failed: {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        if runtime.compile is Compile.on:
            raise UserError(f"runtime.compile: expected training steps to compile, but {reason}; try off") from error
        say(f"not compiled: {reason}")
        return model
    finally:
        model.zero_grad(set_to_none=True)
    say(f"compiled in {time.perf_counter() - started:.0f} s")
    return twin
