"""What tests of benchmarks share."""

from pathlib import Path

from bench.racers import Evaluation, Run

TEXT = "Nothing is said here twice, or hardly.\n" * 50


def made_up(contestant: str, *seen: tuple[float, float], seed: int = 0, start_up: float = 2.0, end: float = 60) -> Run:
    """A run with evaluations of (seconds, loss)."""
    curve = [Evaluation(step, seconds, loss) for step, (seconds, loss) in enumerate(seen)]
    return Run(contestant, seed, f"command of {contestant}", start_up, end, curve)


# What bench.peers and bench.samplers ask of a clone of nanoGPT, and no more.
FAKE_NANOGPT = """
import os
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class GPTConfig:
    block_size: int
    vocab_size: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float
    bias: bool


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        print("noise of the model")
        self.embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.head = nn.Linear(config.n_embd, config.vocab_size)

    def configure_optimizers(self, weight_decay, learning_rate, betas, device_type):
        print("noise of the optimizer")
        return torch.optim.SGD(self.parameters(), lr=learning_rate)

    def forward(self, ids, targets):
        FORWARD
        logits = self.head(self.embedding(ids))
        return logits, nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def generate(self, ids, max_new_tokens, temperature):
        assert not self.training and not torch.is_grad_enabled() and temperature == 0.8
        GENERATE
        return torch.cat([ids, torch.ones(len(ids), max_new_tokens, dtype=ids.dtype)], dim=1)
"""


def fake_nanogpt(folder: Path, *, forward: str = "pass", generate: str = "pass") -> Path:
    """A folder that passes for a clone of nanoGPT; its model does `forward` or `generate` first."""
    folder.mkdir()
    source = FAKE_NANOGPT.replace("FORWARD", forward).replace("GENERATE", generate)
    (folder / "model.py").write_text(source, encoding="utf-8")
    return folder
