import pytest
import torch

from errors import UserError
from model.config import DecoderConfig
from model.decoder import Decoder
from sampling.config import SamplingRuntimeConfig
from sampling.engine import LARGE, ONE_THREAD, ready
from training.config import Device, Precision

SMALL = Decoder(DecoderConfig(layers=1, heads=2, width=16, context=8), 7)


def large() -> Decoder:
    decoder = Decoder(DecoderConfig(layers=1, heads=2, width=640, context=8), 7)
    assert decoder.config.block_parameter_count() >= LARGE
    return decoder


def test_a_small_model_writes_in_fp32_and_one_thread() -> None:
    decoder, how = ready(SMALL, SamplingRuntimeConfig(device=Device.cpu), rows=1)
    assert how == "cpu (as asked; one thread), fp32 (the model is small)"
    assert torch.get_num_threads() == 1
    assert all(parameter.dtype == torch.float32 for parameter in decoder.parameters())


def test_many_samples_keep_all_threads_at_work() -> None:
    torch.set_num_threads(2)
    rows = ONE_THREAD // SMALL.config.block_parameter_count() + 1
    _, how = ready(SMALL, SamplingRuntimeConfig(device=Device.cpu), rows=rows)
    assert how == "cpu (as asked; 2 threads), fp32 (the model is small)"


@pytest.mark.parametrize(("capability", "expected"), [("avx512_bf16", torch.bfloat16), ("none", torch.float32)])
def test_a_large_model_writes_in_bf16_where_the_cpu_has_it(
    capability: str, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True})
    decoder, how = ready(large(), SamplingRuntimeConfig(device=Device.cpu), rows=1)
    assert decoder.blocks[0].feed_forward.hidden.dtype == expected
    assert ("bf16 (the CPU has avx512_bf16 instructions)" in how) == (expected == torch.bfloat16)


def test_a_precision_that_was_asked_for_is_taken_whatever_the_size() -> None:
    decoder, how = ready(SMALL, SamplingRuntimeConfig(device=Device.cpu, precision=Precision.bf16), rows=1)
    assert how.endswith("bf16 (as asked)")
    assert decoder.blocks[0].feed_forward.hidden.dtype == torch.bfloat16


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_a_clear_error() -> None:
    with pytest.raises(UserError, match="expected cuda, got a machine without it"):
        ready(SMALL, SamplingRuntimeConfig(device=Device.cuda), rows=1)
