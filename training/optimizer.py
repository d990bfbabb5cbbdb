"""How gradients become new weights: AdamW and the schedule of its learning rate."""

import torch
from torch import nn

from training.config import TrainingConfig


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW that decays all weights but biases, fused into one kernel."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    # Second moments averaged over 20 to 100 steps did equally well (bench/LOG.md).
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99), fused=True)


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Linear rise over the warm-up, then linear decay that would reach zero one step after the last."""
    warmup = config.warmup * config.steps
    rise = (step + 1) / warmup if warmup else 1.0
    fall = (config.steps - step) / (config.steps - warmup)
    return config.learning_rate * min(1.0, rise, fall)


def set_learning_rate(optimizer: torch.optim.Optimizer, step: int, config: TrainingConfig) -> float:
    """Give all parameters the learning rate of `step`, and return it."""
    rate = learning_rate(step, config)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate
