"""Device, precision and compilation are chosen with a reason; a lack of memory is explained."""

import ctypes
import math
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from errors import UserError
from model.config import DecoderConfig
from training import device, memory
from training.config import Compile, Device, Precision, RuntimeConfig
from training.device import choose_runtime, machine
from training.memory import M_MMAP_THRESHOLD, explain_out_of_memory, is_out_of_memory, keep_freed_memory
from training.run import changes

CPU = RuntimeConfig(device=Device.cpu)


@pytest.mark.parametrize(
    ("maker", "capabilities", "precision", "reason"),
    [
        ("Intel(R)", {"amx_bf16": True, "avx512_bf16": True}, Precision.bf16, "the CPU has amx_bf16 instructions"),
        ("AMD", {"amx_bf16": False, "avx512_bf16": True}, Precision.bf16, "the CPU has avx512_bf16 instructions"),
        ("Intel(R)", {"amx_bf16": False, "avx512_bf16": True}, Precision.fp32, "faster on an Intel CPU"),
        ("AMD", {"amx_bf16": False}, Precision.fp32, "the CPU has no bf16 instructions known to be fast"),
    ],
)
def test_a_cpu_gets_bf16_where_it_has_fast_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, maker: str, capabilities: dict[str, bool], precision: Precision, reason: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(device, "hardware", lambda _: f"{maker} CPU")
    runtime = choose_runtime(CPU)
    assert runtime.precision == precision
    assert reason in runtime.reason


def test_torch_still_reports_the_capabilities_of_a_cpu() -> None:
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
    found = machine(torch.device("cpu"))
    assert found["hardware"]
    assert found["threads"] == torch.get_num_threads()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", str(found["date"]))


def test_a_machine_named_in_a_checkpoint_is_never_printed_raw() -> None:
    now: dict[str, str | int] = {"threads": 2, "date": "2026-01-01"}
    assert changes(now | {"date": "2025-01-01"}, now) == ""
    assert changes(now | {"torch\n": "\x1b[2J\r"}, now).endswith(r"torch None (was \x1b[2J\r)")


@pytest.mark.parametrize(
    ("wanted", "lacks", "flop", "one_shape", "chosen", "reason"),
    [
        (Compile.off, None, math.inf, True, Compile.off, "not compiled (as asked)"),
        (Compile.on, None, 0.0, False, Compile.on, "compiled (as asked)"),
        (Compile.auto, None, 1e15, True, Compile.auto, "compiled (a long run)"),
        (Compile.auto, None, 1e12, True, Compile.off, "not compiled (too short a run to gain by it)"),
        (Compile.auto, None, 1e15, False, Compile.off, "not compiled (lines differ in length)"),
        (Compile.auto, "C++ compiler", 1e15, True, Compile.off, "not compiled (no C++ compiler was found)"),
    ],
)
def test_whether_to_compile_is_chosen_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
    wanted: Compile,
    lacks: str | None,
    flop: float,
    one_shape: bool,
    chosen: Compile,
    reason: str,
) -> None:
    monkeypatch.setattr(device, "_missing_for_compiling", lambda _: lacks)
    found = choose_runtime(replace(CPU, compile=wanted), flop, one_shape)
    assert found.compile is chosen
    assert found.reason.endswith(f", {reason}")


def test_compiling_that_was_asked_for_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_missing_for_compiling", lambda _: "C++ compiler")
    with pytest.raises(UserError, match=r"runtime\.compile: expected a machine with C\+\+ compiler, got one without"):
        choose_runtime(replace(CPU, compile=Compile.on))


FAULTS = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
import torch
from training.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(4):  # until the memory kept suffices
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    with ThreadPoolExecutor(1) as pool:
        apply = pool.map if sys.argv[2] == "another thread" else map
        # 64 MiB each, freed at once; in one task, as the pool's own small objects could come to lie between.
        list(apply(lambda sizes: [torch.ones(size).numel() for size in sizes], [40 * [2**24]]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
@pytest.mark.parametrize("where", ["the main thread", "another thread"])
def test_freed_memory_is_not_fetched_anew_from_the_system(where: str) -> None:
    """In a process of its own, since the setting stays."""

    def page_faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", FAULTS, how, where], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert page_faults("keep") * 10 < page_faults("leave")


def test_elsewhere_than_on_glibc_memory_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(memory, "ctypes", None)
    keep_freed_memory()


def test_a_glibc_that_admits_no_such_size_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Mock()
    library.mallopt.return_value = 0
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.28"))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    keep_freed_memory()
    assert [call.args[0] for call in library.mallopt.call_args_list] == [M_MMAP_THRESHOLD]


SHAPE = DecoderConfig(layers=4, heads=4, width=128, context=64)


@pytest.mark.parametrize("allocate", [lambda: torch.empty(2**50), lambda: np.empty(2**50), lambda: bytearray(2**50)])
def test_where_memory_is_short_it_is_said_what_to_turn_down(allocate: Callable[[], object]) -> None:
    expected = (
        r"out of memory: expected 786,432 weights in the blocks \(0\.0 GiB at least in training\) and steps of 3,072 "
        r"characters at once to fit in the [\d.]+ GiB of cpu, got: .*; try a smaller model\.width, .*micro_batch_size"
    )
    with pytest.raises(UserError, match=expected) as error, explain_out_of_memory(SHAPE, 3072, torch.device("cpu")):
        allocate()
    assert "\n" not in str(error.value)


def test_a_model_that_cannot_fit_is_refused_before_it_is_made() -> None:
    told = explain_out_of_memory(replace(SHAPE, width=2**30), 3072, torch.device("cpu"))
    with pytest.raises(UserError, match=r"model: expected one that fits in the .* GiB of cpu, got 5\d,\d{3},"), told:
        pytest.fail("went on")


def test_other_errors_keep_their_own_words() -> None:
    with pytest.raises(RuntimeError, match="size") as error, explain_out_of_memory(SHAPE, 3072, torch.device("cpu")):
        torch.zeros(2) @ torch.zeros(3)
    assert not isinstance(error.value, UserError)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: not enough memory: you"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
    ],
)
def test_a_lack_of_memory_is_recognised_on_every_system(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected
