import re

import pytest
import torch

from errors import UserError
from training.config import Device, Precision, RuntimeConfig
from training.device import choose_runtime, machine

CPU = RuntimeConfig(device=Device.cpu)


@pytest.mark.parametrize(
    ("capabilities", "precision", "reason"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, Precision.bf16, "the CPU has amx_bf16 instructions"),
        ({"amx_bf16": False, "avx512_bf16": True}, Precision.bf16, "the CPU has avx512_bf16 instructions"),
        (
            {"amx_bf16": False, "avx512_bf16": False},
            Precision.fp32,
            "the CPU has no bf16 instructions known to be fast",
        ),
        ({}, Precision.fp32, "the CPU has no bf16 instructions known to be fast"),
    ],
)
def test_a_cpu_gets_bf16_where_it_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], precision: Precision, reason: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    runtime = choose_runtime(CPU)
    assert runtime.precision == precision
    assert reason in runtime.reason


def test_this_machine_tells_its_capabilities() -> None:
    assert "architecture" in torch.cpu.get_capabilities()


@pytest.mark.parametrize(("cuda", "mps", "device"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_takes_the_best_device_there_is(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_runtime(RuntimeConfig()).device == torch.device(device)


@pytest.mark.parametrize("device", [Device.cuda, Device.mps])
def test_a_device_that_is_not_there_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=f"runtime.device: expected {device}, got a machine without it"):
        choose_runtime(RuntimeConfig(device=device))


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [(Precision.fp32, torch.float32), (Precision.bf16, torch.bfloat16), (Precision.fp16, torch.float16)],
)
def test_products_are_computed_in_the_precision_that_was_asked_for(precision: Precision, dtype: torch.dtype) -> None:
    runtime = choose_runtime(RuntimeConfig(device=Device.cpu, precision=precision))
    with runtime.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    assert "as asked" in runtime.reason


def test_the_machine_tells_its_name_and_the_day() -> None:
    told = machine(torch.device("cpu"))
    assert told["hardware"]
    assert told["threads"] == torch.get_num_threads()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", str(told["date"]))
