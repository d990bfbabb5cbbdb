"""How gradients become new weights: Muon for the maps in the blocks, AdamW for all else, and the schedule of both."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from model.decoder import Decoder
from training.config import OptimizerKind, Precision, TrainingConfig

# Jordan et al. 2024: x -> a x + b x^3 + c x^5 takes what is between 0 and 1 to about 1, near zero the fastest.
NEWTON_SCHULZ = 3.4445, -4.7750, 2.0315
NEWTON_SCHULZ_STEPS = 4  # five did no better (bench/LOG.md)
ROLLBACK_LR_FACTOR = 0.5  # learning rates after training has diverged


class Muon(torch.optim.Optimizer):
    """Steps of one length in every direction: momentum, orthogonalised (Jordan et al. 2024, "Muon").

    Each matrix is parted into near-squares where they divide it evenly, such as the queries, keys and values of one
    map. That costs no loss (bench/LOG.md), and then nearly all blocks of a decoder are of one shape and are
    orthogonalised side by side in a few large products, where torch's own Muon goes matrix by matrix.
    """

    def __init__(
        self,
        matrices: list[nn.Parameter],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.9,  # over short runs 0.95 did worse (bench/LOG.md)
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """`dtype`: of the products; bf16 is exact enough. Raises ValueError for anything but matrices."""
        if odd := [tuple(parameter.shape) for parameter in matrices if parameter.dim() != 2]:
            raise ValueError(f"expected matrices, got parameters of shape {odd}")
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.dtype = dtype
        # Tells optimizers, those of torch too, to skip a step: 1.0 or 0.0, on the device, so that nobody waits for it.
        self.found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            matrices = [parameter for parameter in group["params"] if parameter.grad is not None]
            updates = self._nesterov(matrices, group["momentum"])
            torch._foreach_mul_(matrices, 1 - self._share() * group["lr"] * group["weight_decay"])
            by_shape = defaultdict(list)
            for matrix, update in zip(matrices, updates, strict=True):
                by_shape[blocks(matrix).shape[1:]].append((blocks(matrix), blocks(update)))
            for pairs in by_shape.values():
                targets, sources = zip(*pairs, strict=True)
                found = self._share() * orthogonalised(torch.cat(sources).to(self.dtype))
                parts = found.split([len(target) for target in targets])
                torch._foreach_add_(targets, [part.type_as(targets[0]) for part in parts], alpha=-group["lr"])
        return loss

    def _share(self) -> Tensor | float:
        """0.0 for a step that is to be skipped, else 1.0."""
        return 1.0 if self.found_inf is None else 1.0 - self.found_inf

    def _nesterov(self, matrices: list[nn.Parameter], momentum: float) -> list[Tensor]:
        """The mean gradients of late, looked at one step ahead."""
        gradients = [cast(Tensor, parameter.grad) for parameter in matrices]
        for parameter in matrices:
            if not self.state[parameter]:
                self.state[parameter]["mean_gradient"] = torch.zeros_like(parameter)
        means = [self.state[parameter]["mean_gradient"] for parameter in matrices]
        if self.found_inf is not None:  # a mean of itself and itself stays as it is
            pairs = zip(gradients, means, strict=True)
            gradients = [gradient.where(self.found_inf == 0, mean) for gradient, mean in pairs]
        torch._foreach_lerp_(means, gradients, 1 - momentum)
        return list(torch._foreach_lerp(gradients, means, momentum))


def blocks(matrix: Tensor) -> Tensor:
    """A view of `matrix` (R, C) as n near-squares, (n, R / n, C) or (n, R, C / n); whole if n does not divide it."""
    rows, columns = matrix.shape
    longer, shorter = max(rows, columns), min(rows, columns)
    n = round(longer / shorter)
    if longer % n:
        n = 1
    return matrix.view(n, rows // n, columns) if rows >= columns else matrix.view(rows, n, -1).transpose(0, 1)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices (n, R, C) with their singular values made about one, all others kept: U S V^T -> about U V^T.

    By Newton-Schulz iteration: products alone, no decomposition. Singular values of at least a hundredth of the
    matrix's norm come to lie between 0.68 and 1.21.
    """
    if matrices.shape[-2] > matrices.shape[-1]:
        return orthogonalised(matrices.mT).mT  # the products below are of the size of the rows
    a, b, c = NEWTON_SCHULZ
    x = matrices / (matrices.float().norm(dim=(-2, -1), keepdim=True).type_as(matrices) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = torch.bmm(x, x.mT)
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x


def make_optimizers(
    decoder: Decoder, config: TrainingConfig, precision: Precision = Precision.fp32
) -> list[torch.optim.Optimizer]:
    """One for every kind of parameter; together they hold each exactly once. `precision`: of Muon's products."""
    parameters = list(decoder.parameters())
    optimizers: list[torch.optim.Optimizer] = []
    if config.optimizer is OptimizerKind.muon:
        maps = decoder.linear_weights()
        dtype = torch.bfloat16 if precision is Precision.bf16 else torch.float32
        optimizers.append(Muon(maps, config.muon_learning_rate, config.weight_decay, dtype=dtype))
        parameters = [parameter for parameter in parameters if all(parameter is not other for other in maps)]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},  # biases
    ]
    # Second moments averaged over 20 to 100 steps did equally well (bench/LOG.md).
    optimizers.append(torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99), fused=True))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """What `optimizer` has found out about each parameter, by its number. All else it has from the configuration."""
    return optimizer.state_dict()["state"]


def load_optimizer_state(optimizer: torch.optim.Optimizer, states: dict[int, dict[str, Tensor]]) -> None:
    """`remembered` undone. Raises ValueError for anything but what it gives for parameters of these shapes."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    names = {"mean_gradient"} if isinstance(optimizer, Muon) else {"step", "exp_avg", "exp_avg_sq"}
    for number, parameter in enumerate(parameters):
        state = states.get(number, {})
        for name in names ^ set(state) if state else ():
            raise ValueError(f"{name!r:.50} of parameter {number}")
        for name, tensor in state.items():
            shape = () if name == "step" else parameter.shape
            if not isinstance(tensor, Tensor) or (tensor.shape, tensor.dtype) != (shape, torch.float32):
                raise ValueError(f"{name} of parameter {number} is not of {tuple(shape)} and float32")
    if strange := set(states) - set(range(len(parameters))):
        raise ValueError(f"parameters {strange!r:.50}, which are not there")
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def lr_multiplier(step: int, config: TrainingConfig) -> float:
    """Of the highest learning rate: linear rise over the warm-up, then linear decay to zero one step after the last."""
    warmup = config.warmup * config.steps
    rise = (step + 1) / warmup if warmup else 1.0
    fall = (config.steps - step) / (config.steps - warmup)
    return min(1.0, rise, fall)


def set_learning_rates(
    optimizers: list[torch.optim.Optimizer], step: int, config: TrainingConfig, rollbacks: int = 0
) -> float:
    """Give every parameter the learning rate of `step`, smaller by each of the `rollbacks`, and return AdamW's."""
    share = lr_multiplier(step, config) * ROLLBACK_LR_FACTOR**rollbacks
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = share * group["initial_lr"]
    return share * config.learning_rate
