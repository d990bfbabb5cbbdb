"""Muon for the linear layers of the blocks, AdamW for all else, their state by name, and the learning-rate schedule."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from model.decoder import Decoder
from training.config import OptimizerKind, Precision, TrainingConfig
from training.device import Runtime

# Jordan et al. 2024: x -> a x + b x^3 + c x^5 takes what is between 0 and 1 to about 1, near zero the fastest.
NEWTON_SCHULZ = 3.4445, -4.7750, 2.0315
NEWTON_SCHULZ_STEPS = 4  # five did no better (bench/LOG.md)
ROLLBACK_LR_FACTOR = 0.5  # of the learning rates, for each time that training has diverged
STATE_NAMES = {"muon": ("momentum_buffer",), "adamw": ("step", "exp_avg", "exp_avg_sq")}  # of each parameter
UNDECAYED = "position.table", "scoring.vector"  # ends of names: learned positions, additive scoring's vectors
SHARE_LR_FACTOR = 16  # of AdamW's learning rate, for the shares of a token shift (bench/LOG.md)
UNFUSED = {"mps"}  # devices where fused AdamW ignores found_inf, until a release has pytorch/pytorch#186360


class Muon(torch.optim.Optimizer):
    """Steps of one length in every direction: momentum, orthogonalised (Jordan et al. 2024, "Muon").

    Each matrix is split into near-squares where they divide it evenly, such as the queries, keys and values of one
    linear layer. That costs no loss (bench/LOG.md), and then nearly all blocks of a decoder are of one shape and are
    orthogonalised side by side in a few large products, where torch's own Muon goes matrix by matrix.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.9,  # over short runs 0.95 did worse (bench/LOG.md)
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """`dtype`: of the products; bf16 is exact enough. Raises ValueError for anything but matrices."""
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        shapes = [tuple(parameter.shape) for group in self.param_groups for parameter in group["params"]]
        if odd := [shape for shape in shapes if len(shape) != 2]:
            raise ValueError(f"expected matrices, got parameters of shape {odd}")
        self.dtype = dtype
        # 1.0 to skip a step, else 0.0, on the device, so that the host need not wait: as torch's fused optimizers do.
        self.found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override] # noqa: ARG002 - none is ever given
        factor = 1.0 if self.found_inf is None else 1.0 - self.found_inf  # 0.0 for a step that is to be skipped
        for group in self.param_groups:
            matrices = [parameter for parameter in group["params"] if parameter.grad is not None]
            updates = self._nesterov(matrices, group["momentum"])
            torch._foreach_mul_(matrices, 1 - factor * group["lr"] * group["weight_decay"])
            by_shape = defaultdict(list)
            for matrix, update in zip(matrices, updates, strict=True):
                by_shape[blocks(matrix).shape[1:]].append((blocks(matrix), blocks(update)))
            for pairs in by_shape.values():
                targets, sources = zip(*pairs, strict=True)
                found = factor * orthogonalised(torch.cat(sources).to(self.dtype))
                parts = found.split([len(target) for target in targets])
                torch._foreach_add_(targets, [part.type_as(targets[0]) for part in parts], alpha=-group["lr"])

    def _nesterov(self, matrices: list[nn.Parameter], momentum: float) -> list[Tensor]:
        """Nesterov momentum: the running mean of the gradients, one step ahead."""
        gradients = [cast(Tensor, parameter.grad) for parameter in matrices]
        for parameter in matrices:
            if not self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        means = [self.state[parameter]["momentum_buffer"] for parameter in matrices]
        if self.found_inf is not None:  # a mean of itself and itself stays as it is
            pairs = zip(gradients, means, strict=True)
            gradients = [gradient.where(self.found_inf == 0, mean) for gradient, mean in pairs]
        torch._foreach_lerp_(means, gradients, 1 - momentum)
        return list(torch._foreach_lerp(gradients, means, momentum))


def blocks(matrix: Tensor) -> Tensor:
    """A view of `matrix` (R, C) as n near-squares, (n, R / n, C) or (n, R, C / n); whole if n does not divide it."""
    rows, columns = matrix.shape
    shorter, longer = sorted(matrix.shape)
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
    """One for every kind of parameter; together they hold each exactly once, by name. `precision`: of Muon's products.

    Weight decay is for matrices and the embedding, not for biases, learned positions and additive scoring's vectors.
    """
    parameters = dict(decoder.named_parameters())
    optimizers: list[torch.optim.Optimizer] = []
    if config.optimizer is OptimizerKind.muon:
        names = {parameter: name for name, parameter in parameters.items()}
        matrices = [(names[weight], parameters.pop(names[weight])) for weight in decoder.linear_weights()]
        dtype = torch.bfloat16 if precision is Precision.bf16 else torch.float32
        optimizers.append(Muon(matrices, config.muon_learning_rate, config.weight_decay, dtype=dtype))
    rate, decay = config.learning_rate, config.weight_decay
    kinds = (rate, decay), (rate, 0.0), (SHARE_LR_FACTOR * rate, 0.0)
    groups: list[dict[str, Any]] = [{"params": [], "lr": lr, "weight_decay": decay} for lr, decay in kinds]
    for name, parameter in parameters.items():
        kind = 2 if name.endswith("shift.share") else parameter.dim() < 2 or name.endswith(UNDECAYED)
        groups[kind]["params"].append((name, parameter))
    fused = decoder.embedding.weight.device.type not in UNFUSED
    # Second moments averaged over 20 to 100 steps did equally well (bench/LOG.md).
    groups = [group for group in groups if group["params"]]
    optimizers.append(torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99), fused=fused))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def step_if_finite(optimizer: torch.optim.Optimizer, finite: Tensor) -> None:
    """Let `optimizer` take its step unless the flag `finite` is false.

    Muon and fused AdamW read the flag on the device; another AdamW cannot, so that the host waits for it.
    """
    if isinstance(optimizer, Muon) or optimizer.defaults["fused"]:
        optimizer.found_inf = 1.0 - finite.float()  # type: ignore[attr-defined] # torch reads it, but has no type for it
        optimizer.step()
    elif finite:
        optimizer.step()


def optimizer_state(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """The state of each parameter in all optimizers, such as `adamw.exp_avg.<parameter>`; not copies."""
    return {
        f"{_kind(optimizer)}.{key}.{name}": tensor
        for optimizer in optimizers
        for name, parameter in _named(optimizer)
        for key, tensor in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer_state(optimizers: Sequence[torch.optim.Optimizer], tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `optimizer_state`. Raises ValueError for names that it does not give for these parameters."""
    left = dict(tensors)
    for optimizer in optimizers:
        kind, states = _kind(optimizer), {}
        for number, (name, _) in enumerate(_named(optimizer)):
            state = {key: left.pop(f"{kind}.{key}.{name}", None) for key in STATE_NAMES[kind]}
            if all(tensor is None for tensor in state.values()):  # it has taken no step
                continue
            if missing := [key for key, tensor in state.items() if tensor is None]:
                raise ValueError(f"{kind}.{missing[0]}.{name}: expected it beside the rest of the parameter's state")
            states[number] = state
        optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    if left:
        raise ValueError(f"optimizer state that is not this optimizer's: {', '.join(sorted(left))[:100]}")


def _kind(optimizer: torch.optim.Optimizer) -> str:
    return type(optimizer).__name__.lower()


def _named(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, nn.Parameter]]:
    for group in optimizer.param_groups:
        yield from zip(group["param_names"], group["params"], strict=True)


@dataclass(frozen=True)
class Learner:
    """A decoder and what makes it learn."""

    decoder: Decoder
    optimizers: list[torch.optim.Optimizer]
    scaler: torch.amp.GradScaler  # of fp16 gradients; idle in other precisions

    @classmethod
    def create(cls, decoder: Decoder, config: TrainingConfig, runtime: Runtime) -> "Learner":
        scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision is Precision.fp16)
        return cls(decoder, make_optimizers(decoder, config, runtime.precision), scaler)

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimizer state and the scaler's, by the names of a checkpoint's fields. Tensors are not copied."""
        return {
            "weights": self.decoder.state_dict(),
            "optimizer_state": optimizer_state(self.optimizers),
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`; tensors of `state` may become the learner's own. A scaler of another precision
        starts anew. Raises KeyError, RuntimeError, TypeError or ValueError for the state of another learner.
        """
        self.decoder.load_state_dict(state["weights"])
        load_optimizer_state(self.optimizers, state["optimizer_state"])
        if self.scaler.is_enabled() and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])


def lr_multiplier(step: int, config: TrainingConfig) -> float:
    """Learning-rate schedule: linear warm-up to 1, then linear decay to 0 one step after the last."""
    warmup = config.warmup * config.steps
    rise = (step + 1) / warmup if warmup else 1.0
    fall = (config.steps - step) / (config.steps - warmup)
    return min(1.0, rise, fall)


def set_learning_rates(
    optimizers: list[torch.optim.Optimizer], step: int, config: TrainingConfig, rollbacks: int = 0
) -> float:
    """Set the learning rate of `step` in every group, halved for each of the `rollbacks`, and return AdamW's."""
    multiplier = lr_multiplier(step, config) * ROLLBACK_LR_FACTOR**rollbacks
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = multiplier * group["initial_lr"]
    return multiplier * config.learning_rate
