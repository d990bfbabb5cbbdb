"""Where a run computes and how precisely, chosen with a reason that is printed."""

import platform
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from errors import UserError
from training.config import Device, Precision, RuntimeConfig

_DTYPES = {Precision.fp32: torch.float32, Precision.bf16: torch.bfloat16, Precision.fp16: torch.float16}


@dataclass(frozen=True)
class Runtime:
    device: torch.device
    precision: Precision  # never auto
    reason: str  # why these two

    def autocast(self) -> AbstractContextManager[object]:
        """Inside, matrix products are computed in the chosen precision."""
        enabled = self.precision is not Precision.fp32
        return torch.autocast(self.device.type, _DTYPES[self.precision], enabled=enabled)


def machine(device: torch.device) -> dict[str, str | int]:
    """What results depend on besides the code, with today's date (UTC)."""
    return {
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def hardware(device: torch.device) -> str:
    """What `device` is, in its maker's words where they can be had."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")  # Linux alone has it, and there platform knows no more than the architecture
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def choose_runtime(config: RuntimeConfig) -> Runtime:
    """Settle `auto`. Raises UserError if a device that was asked for is not there."""
    device, why_device = _choose_device(config.device)
    precision, why_precision = _choose_precision(config.precision, device)
    return Runtime(device, precision, f"{device} ({why_device}), {precision} ({why_precision})")


def _choose_device(wanted: Device) -> tuple[torch.device, str]:
    there = {Device.cuda: torch.cuda.is_available(), Device.mps: torch.backends.mps.is_available()}
    match wanted:
        case Device.auto:
            for kind, available in there.items():
                if available:
                    return torch.device(kind.value), "a GPU was found"
            return torch.device("cpu"), f"no GPU was found; {torch.get_num_threads()} threads"
        case Device.cpu:
            return torch.device("cpu"), f"as asked; {torch.get_num_threads()} threads"
        case Device.cuda | Device.mps:
            if not there[wanted]:
                raise UserError(f"runtime.device: expected {wanted}, got a machine without it; try auto or cpu")
            return torch.device(wanted.value), "as asked"


def _choose_precision(wanted: Precision, device: torch.device) -> tuple[Precision, str]:
    if wanted is not Precision.auto:
        return wanted, "as asked"
    match device.type:
        case "cuda" if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision.bf16, "the GPU has bf16 instructions"
        case "cuda":
            return Precision.fp32, "the GPU has no bf16 instructions"
        case "cpu":
            capabilities = torch.cpu.get_capabilities()
            for instructions in ("amx_bf16", "avx512_bf16"):
                if capabilities.get(instructions):
                    return Precision.bf16, f"the CPU has {instructions} instructions"
            return Precision.fp32, "the CPU has no bf16 instructions known to be fast"
        case other:
            return Precision.fp32, f"bf16 is unproven on {other}"
