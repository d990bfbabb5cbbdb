import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from bench.samplers import (
    as_sampled,
    charscope,
    contestants,
    new_decoder,
    product_types,
    transformers,
)
from bench.sampling import TINY
from bench.stopwatch import ROOT
from model.config import PositionKind
from model.decoder import inference
from training.config import Precision

CPU = torch.device("cpu")
PAIR = replace(TINY, batch=2)
IDS = torch.tensor([[3, 1, 4, 1, 5]])


FREED = """
import torch
from bench.machine import forget_peak, peak_in_use
device = torch.device("cpu")
before = forget_peak(device)
torch.ones(25_000_000)  # 100 MB, freed at once
print(peak_in_use(device) - before, forget_peak(device) - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a peak can be forgotten on Linux alone")
def test_memory_that_was_freed_counts_until_it_is_forgotten() -> None:
    """In a process of its own, where nobody has told the allocator to keep what is freed."""
    done = subprocess.run([sys.executable, "-c", FREED], cwd=ROOT, capture_output=True, text=True, check=True)
    grown, forgotten = map(int, done.stdout.split())
    assert 90e6 < grown < 150e6
    assert abs(forgotten) < 50e6


@pytest.mark.parametrize("position", [PositionKind.rotary, PositionKind.learned])
def test_ours_writes_as_many_ids_as_are_asked_for(position: PositionKind) -> None:
    writer = charscope(Precision.auto, position, PAIR, CPU)
    assert writer.write(20) == 2 * 20  # past the context, too
    assert writer.settings.endswith(f", {position}")
    assert writer.parameters == new_decoder(PAIR, position, CPU).parameter_count()


def test_a_decoder_that_samples_computes_what_the_plain_one_does() -> None:
    plain = new_decoder(TINY, PositionKind.rotary, CPU)
    ready = as_sampled(plain, 1)
    assert product_types(ready) in ("bfloat16", "float32")
    with inference(plain):
        torch.testing.assert_close(ready(IDS), plain(IDS), rtol=0.05, atol=0.05)


def test_gpt2_writes_as_many_ids_as_are_asked_for() -> None:
    pytest.importorskip("transformers", reason="it comes with the extra: pip install --editable '.[bench]'")
    assert transformers(PAIR, CPU).write(20) == 2 * 20


def test_who_is_left_out_is_named() -> None:
    entrants, left_out = contestants(None)
    assert [entrant.name for entrant in entrants if entrant.ours] == [
        "charscope",
        "charscope, fp32",
        "charscope, learned positions",
    ]
    assert left_out["nanoGPT"] == "no --nanogpt says where it is"
    assert ("transformers" in left_out) != ("transformers" in [entrant.name for entrant in entrants])
