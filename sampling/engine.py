"""Where a decoder writes, and in which form, chosen with a reason that is printed."""

import torch

from model.decoder import Decoder
from sampling.config import SamplingRuntimeConfig
from sampling.packing import packed
from training.config import Precision
from training.device import DTYPES, choose_device, choose_precision

# On CPUs, found by measuring (bench/LOG.md):
LARGE = 2**22  # weights in the blocks, from which bf16 gains anything
ONE_THREAD = 2**22  # weights times rows up to which a second thread waits longer than it works


def ready(decoder: Decoder, config: SamplingRuntimeConfig, rows: int) -> tuple[Decoder, str]:
    """A decoder that reads so many ids at once, one of each sample, and in words where and how, and why.

    Where one thread is fastest, torch has but one from now on. Raises UserError if what was asked for is not there.
    """
    device, why_device = choose_device(config.device)
    precision, why_precision = choose_precision(config.precision, device)
    weights = decoder.config.block_parameter_count()
    if device.type == "cpu":
        if weights * rows <= ONE_THREAD:
            torch.set_num_threads(1)
        why_device += f"; {torch.get_num_threads()} threads" if torch.get_num_threads() > 1 else "; one thread"
        if weights < LARGE and config.precision is Precision.auto:
            precision, why_precision = Precision.fp32, "the model is small"
    decoder = packed(decoder.to(device), DTYPES[precision], rows)
    return decoder, f"{device} ({why_device}), {precision} ({why_precision})"
