import pytest
import torch

from model.config import DecoderConfig
from model.decoder import Decoder
from sampling.packing import ONE_THREAD_UP_TO
from training import device
from training.config import Device, Precision, SamplingRuntimeConfig
from training.device import SAMPLE_IN_BF16_FROM, prepare_for_sampling

SMALL = Decoder(DecoderConfig(layers=1, heads=2, width=16, context=8), 7)


MANY = ONE_THREAD_UP_TO // SMALL.config.block_parameter_count() + 1


@pytest.mark.parametrize(
    ("precision", "rows", "reason", "dtype"),
    [
        (Precision.auto, 1, "cpu (as asked; one thread), fp32 (the model is small)", torch.float32),
        (Precision.auto, MANY, "cpu (as asked; 2 threads), fp32 (the model is small)", torch.float32),
        (Precision.bf16, 1, "cpu (as asked; one thread), bf16 (as asked)", torch.bfloat16),
    ],
)
def test_a_small_model_samples_in_one_thread_unless_there_are_many_rows_and_in_fp32_unless_another_is_asked_for(
    precision: Precision, rows: int, reason: str, dtype: torch.dtype
) -> None:
    torch.set_num_threads(2)
    config = SamplingRuntimeConfig(device=Device.cpu, precision=precision)
    decoder, found = prepare_for_sampling(SMALL, config, rows)
    assert found == reason
    assert torch.get_num_threads() == (2 if rows == MANY else 1)
    assert decoder.blocks[0].feed_forward.hidden.weight.dtype == dtype


@pytest.mark.parametrize(("capability", "expected"), [("avx512_bf16", torch.bfloat16), ("none", torch.float32)])
def test_a_large_model_samples_in_bf16_where_the_cpu_supports_it(
    capability: str, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True})
    monkeypatch.setattr(device, "hardware", lambda _: "AMD EPYC")
    large = Decoder(DecoderConfig(layers=1, heads=2, width=640, context=8), 7)
    assert large.config.block_parameter_count() >= SAMPLE_IN_BF16_FROM
    decoder, reason = prepare_for_sampling(large, SamplingRuntimeConfig(device=Device.cpu), rows=1)
    assert decoder.blocks[0].feed_forward.hidden.weight.dtype == expected
    assert ("bf16 (the CPU has avx512_bf16 instructions)" in reason) == (expected == torch.bfloat16)
