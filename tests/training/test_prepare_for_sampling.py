import pytest
import torch

from conf.schema import SamplingRuntimeConfig
from model.config import DecoderConfig
from model.decoder import Decoder
from training.config import Device, Precision
from training.device import SAMPLE_IN_BF16_FROM, SAMPLE_IN_ONE_THREAD, prepare_for_sampling

SMALL = Decoder(DecoderConfig(layers=1, heads=2, width=16, context=8), 7)


def large() -> Decoder:
    decoder = Decoder(DecoderConfig(layers=1, heads=2, width=640, context=8), 7)
    assert decoder.config.block_parameter_count() >= SAMPLE_IN_BF16_FROM
    return decoder


def test_a_small_model_samples_in_fp32_and_one_thread() -> None:
    decoder, reason = prepare_for_sampling(SMALL, SamplingRuntimeConfig(device=Device.cpu), rows=1)
    assert reason == "cpu (as asked; one thread), fp32 (the model is small)"
    assert torch.get_num_threads() == 1
    assert all(parameter.dtype == torch.float32 for parameter in decoder.parameters())


def test_many_samples_use_all_threads() -> None:
    torch.set_num_threads(2)
    rows = SAMPLE_IN_ONE_THREAD // SMALL.config.block_parameter_count() + 1
    _, reason = prepare_for_sampling(SMALL, SamplingRuntimeConfig(device=Device.cpu), rows=rows)
    assert reason == "cpu (as asked; 2 threads), fp32 (the model is small)"


@pytest.mark.parametrize(("capability", "expected"), [("avx512_bf16", torch.bfloat16), ("none", torch.float32)])
def test_a_large_model_samples_in_bf16_where_the_cpu_supports_it(
    capability: str, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True})
    decoder, reason = prepare_for_sampling(large(), SamplingRuntimeConfig(device=Device.cpu), rows=1)
    assert decoder.blocks[0].feed_forward.hidden.dtype == expected
    assert ("bf16 (the CPU has avx512_bf16 instructions)" in reason) == (expected == torch.bfloat16)


def test_an_explicit_precision_holds_for_every_size() -> None:
    decoder, reason = prepare_for_sampling(
        SMALL, SamplingRuntimeConfig(device=Device.cpu, precision=Precision.bf16), rows=1
    )
    assert reason.endswith("bf16 (as asked)")
    assert decoder.blocks[0].feed_forward.hidden.dtype == torch.bfloat16
