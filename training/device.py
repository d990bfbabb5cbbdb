"""Device, precision and compilation of a run, chosen with a reason that is printed."""

import os
import platform
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from errors import UserError
from model.decoder import Decoder
from sampling.packing import fastest_threads, packed
from training.config import Compile, Device, Precision, RuntimeConfig, SamplingRuntimeConfig
from training.distributed import SINGLE_PROCESS, Ranks
from training.memory import is_out_of_memory

COMPILE_FLOP = 3e14  # of a run, from which on a CPU gains more than compiling costs (bench/LOG.md)
DTYPES = {Precision.fp32: torch.float32, Precision.bf16: torch.bfloat16, Precision.fp16: torch.float16}


@dataclass(frozen=True)
class Runtime:
    device: torch.device
    precision: Precision  # never auto
    compile: Compile  # training steps, by torch.compile: on (or fail), auto (or fall back) or off
    reason: str  # why these
    ranks: Ranks = SINGLE_PROCESS

    def autocast(self) -> AbstractContextManager[object]:
        """Inside, matrix products are computed in the chosen precision."""
        enabled = self.precision is not Precision.fp32
        return torch.autocast(self.device.type, DTYPES[self.precision], enabled=enabled)

    def seed(self, seed: int) -> None:
        """Seed the device's default generator, which serves dropout and nothing else."""
        # torch.manual_seed seeds every kind of device, which takes ten times as long.
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed)
        else:
            torch.get_device_module(self.device).manual_seed(seed)


def machine(device: torch.device) -> dict[str, str | int]:
    """All that results depend on besides the code, with today's date (UTC)."""
    return {
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def hardware(device: torch.device) -> str:
    """The name of `device`, as its maker gives it where that can be read."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")  # Linux alone has it, and there platform knows no more than the architecture
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def choose_runtime(
    config: RuntimeConfig, flop: float = 0.0, one_shape: bool = True, ranks: Ranks = SINGLE_PROCESS
) -> Runtime:
    """Resolve `auto`. Raises UserError if what was asked for is not available.

    `flop`: floating-point operations of the whole run, roughly. `one_shape`: whether all batches have one.
    """
    device, why_device = choose_device(config.device)
    if ranks.world_size > 1:
        device = _rank_device(device, ranks)
        why_device += f", {ranks.world_size} processes"
    if device.type == "cpu":
        why_device += f"; {torch.get_num_threads()} threads"
    precision, why_precision = choose_precision(config.precision, device)
    compiled, why_compiled = _choose_compile(config.compile, device, flop, one_shape)
    chosen = f"{device} ({why_device}), {precision} ({why_precision})"
    how = "not compiled" if compiled is Compile.off else "compiled"
    return Runtime(device, precision, compiled, f"{chosen}, {how} ({why_compiled})", ranks)


def choose_device(wanted: Device) -> tuple[torch.device, str]:
    """Resolve `auto`, with the reason. Raises UserError if what was asked for is not available."""
    available = {Device.cuda: torch.cuda.is_available(), Device.mps: torch.backends.mps.is_available()}
    if wanted is Device.auto:
        found = [device for device in available if available[device]]
        return (torch.device(found[0]), "a GPU was found") if found else (torch.device("cpu"), "no GPU was found")
    if not available.get(wanted, True):
        raise UserError(f"runtime.device: expected {wanted}, got a machine without it; try auto or cpu")
    return torch.device(wanted.value), "as asked"


def _rank_device(device: torch.device, ranks: Ranks) -> torch.device:
    """The device of one of several ranks. Raises UserError if there is none for it."""
    match device.type:
        case "cuda":
            if ranks.local_rank >= (count := torch.cuda.device_count()):
                raise UserError(f"expected at most one process for each of {count} GPUs, got {ranks.local_rank + 1}")
            torch.cuda.set_device(ranks.local_rank)
            return torch.device("cuda", ranks.local_rank)
        case "mps":
            raise UserError("runtime.device: expected cuda or cpu for several processes, got mps")
    return device


def choose_precision(wanted: Precision, device: torch.device) -> tuple[Precision, str]:
    """Resolve `auto`, with the reason."""
    if wanted is not Precision.auto:
        return wanted, "as asked"
    match device.type:
        case "cuda" if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision.bf16, "the GPU has bf16 instructions"
        case "cuda":
            return Precision.fp32, "the GPU has no bf16 instructions"
        case "cpu":
            capabilities = torch.cpu.get_capabilities()
            if capabilities.get("amx_bf16"):
                return Precision.bf16, "the CPU has amx_bf16 instructions"
            if capabilities.get("avx512_bf16") and "Intel" in hardware(device):  # bf16 at half the speed (bench/LOG.md)
                return Precision.fp32, "without amx_bf16 it is faster on an Intel CPU"
            if capabilities.get("avx512_bf16"):
                return Precision.bf16, "the CPU has avx512_bf16 instructions"
            return Precision.fp32, "the CPU has no bf16 instructions known to be fast"
        case other:
            return Precision.fp32, f"bf16 is unproven on {other}"


def _choose_compile(wanted: Compile, device: torch.device, flop: float, one_shape: bool) -> tuple[Compile, str]:
    """Depends on nothing but the settings and what is installed, so that a run repeated computes the same."""
    missing = _missing_for_compiling(device)
    if wanted is Compile.on and missing:
        raise UserError(f"runtime.compile: expected a machine with {missing}, got one without; try auto or off")
    if wanted is not Compile.auto:
        return wanted, "as asked"
    if device.type == "mps":
        return Compile.off, "unproven on mps"
    if device.type == "cpu" and flop < COMPILE_FLOP:
        return Compile.off, "too short a run to gain by it"
    if not one_shape:
        return Compile.off, "lines differ in length"
    if missing:
        return Compile.off, f"no {missing} was found"
    return Compile.auto, "a long run" if device.type == "cpu" else "on a GPU"


def _missing_for_compiling(device: torch.device) -> str | None:
    """A tool that torch.compile needs and does not find; None if all are there."""
    if device.type == "cuda":
        return None if find_spec("triton") else "triton"
    compilers = os.environ.get("CXX"), "g++", "clang++", "cl"
    return None if any(compiler and shutil.which(compiler) for compiler in compilers) else "C++ compiler"


def compiled(
    model: nn.Module, loss: Callable[[nn.Module], Tensor], runtime: Runtime, say: Callable[[str], None]
) -> nn.Module:
    """`model`, or its compiled twin with the same weights, for training steps to call.

    The twin is compiled here, by one `loss` and its gradients, which are discarded. Where it cannot be, `say` gets the
    reason. Raises UserError instead if `runtime.compile` is on.
    """
    if runtime.compile is Compile.off:
        return model
    started = time.perf_counter()
    try:
        torch.compiler.reset()  # or the runs of a sweep would share one allowance of compilations
        twin = cast(nn.Module, torch.compile(model))
        loss(twin).backward()
    except Exception as error:  # a compiler can fail in any way
        if is_out_of_memory(error):
            raise
        reason = f"torch.compile failed: {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        if runtime.compile is Compile.on:
            raise UserError(f"runtime.compile: expected training steps to compile, but {reason}; try off") from error
        say(f"not compiled: {reason}")
        return model
    finally:
        model.zero_grad(set_to_none=True)
    say(f"compiled in {time.perf_counter() - started:.0f} s")
    return twin


SAMPLE_IN_BF16_FROM = 2**22  # weights in the blocks from which bf16 is faster on a CPU (bench/LOG.md)


def prepare_for_sampling(decoder: Decoder, config: SamplingRuntimeConfig, rows: int) -> tuple[Decoder, str]:
    """A copy of the decoder on its device, packed for products of `rows` rows, and the reason for device and precision.

    Sets torch to one thread where that is fastest. Raises UserError if the requested device is missing.
    """
    device, why_device = choose_device(config.device)
    precision, why_precision = choose_precision(config.precision, device)
    weights = decoder.config.block_parameter_count()
    if device.type == "cpu":
        torch.set_num_threads(fastest_threads(decoder, rows))
        why_device += f"; {torch.get_num_threads()} threads" if torch.get_num_threads() > 1 else "; one thread"
        if weights < SAMPLE_IN_BF16_FROM and config.precision is Precision.auto:
            precision, why_precision = Precision.fp32, "the model is small"
    decoder = packed(decoder.to(device), DTYPES[precision], rows)
    return decoder, f"{device} ({why_device}), {precision} ({why_precision})"
