"""Takes a training step apart: into phases, and into the operations that torch's profiler finds in it."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from statistics import median

import torch
from torch import Tensor
from torch.autograd.profiler_util import FunctionEvent
from torch.nn.utils import clip_grad_norm_
from torch.profiler import ProfilerActivity, record_function, schedule

from bench.machine import Protocol, finish, seconds_of
from bench.ours import VOCABULARY_SIZE, Ours, Shape
from data.batches import Batch
from training.config import OptimizerKind
from training.evaluate import summed_loss

EVERYTHING_ELSE = "everything else"
OPTIMIZER = "optimizer"
BETWEEN = "between operations"

# What the profiler's names mean, without "aten::": patterns as for files. What calls an operation counts with it.
KINDS = {
    "matrix products": "mm addmm matmul linear einsum",
    "attention": "bmm baddbmm *scaled_dot_product* *flash_attention* _softmax* softmax",
    "activation": "gelu* relu* threshold_backward silu* tanh* sigmoid*",
    "normalization": "*layer_norm* *rms_norm*",
    "casts and copies": "copy_ _to_copy to type_as clone contiguous cat stack *pad* roll",
    "element-wise, sums, embedding, loss": """
        add add_ sub sub_ rsub mul mul_ div div_ complex neg reciprocal clamp* lerp* pow square sqrt rsqrt exp
        sum mean cumsum amax maximum minimum linalg_vector_norm dropout native_dropout* bernoulli_*
        arange lt le gt ge eq ne where masked_fill* bitwise_* logical_* tril* triu*
        embedding* index_* gather log_softmax _log_softmax* nll_loss* cross_entropy_loss""",
    OPTIMIZER: "",  # whatever happens in its phase
    "generated kernels": "*CompiledFxGraph* *cpp_fused* triton_*",
    EVERYTHING_ELSE: """
        between?operations view view_as_* *_view reshape _reshape_alias as_strided* t mT transpose* permute expand*
        alias slice* select* narrow split* chunk unbind unflatten flatten squeeze* unsqueeze* detach* resolve_*
        lift_fresh empty* zeros* ones* full* new_* zero_ fill_ resize_* set_ scalar_tensor
        conj _conj item _local_scalar_dense is_* result_type promote_types
        autograd::* torch::autograd::* *Backward[0-9]
        Torch-Compiled* CompiledFunction* TorchDynamo* AOTDispatcher* Pregraph*""",
}


@dataclass
class TrainingStep:
    """A training step, at once or phase by phase."""

    ours: Ours
    batch: Batch

    @classmethod
    def of(
        cls,
        shape: Shape,
        device: torch.device,
        optimizer: OptimizerKind = OptimizerKind.muon,
        micro_batch: int | None = None,
    ) -> "TrainingStep":
        generator = torch.Generator().manual_seed(0)
        inputs, targets = torch.randint(VOCABULARY_SIZE, (2, shape.batch, shape.context), generator=generator)
        ours = Ours.of(shape, device, optimizer=optimizer, micro_batch=micro_batch)
        return cls(ours, Batch(inputs, targets).to(device))

    def take(self) -> None:
        self.ours.step(self.batch.inputs, self.batch.targets)

    def phases(self) -> dict[str, Callable[[], None]]:
        """What `take` does, cut in three to be called in turn."""
        ours, loss = self.ours, list[Tensor]()

        def forward() -> None:
            loss.append(summed_loss(ours.model, self.batch, ours.runtime) / self.batch.characters)

        def backward() -> None:
            loss.pop().backward()

        def update() -> None:
            clip_grad_norm_(ours.model.parameters(), ours.config.gradient_clip)
            for optimizer in ours.optimizers:
                optimizer.step()
            ours.model.zero_grad(set_to_none=True)

        return {"forward": forward, "backward": backward, OPTIMIZER: update}


def phase_seconds(step: TrainingStep, protocol: Protocol) -> dict[str, float]:
    """The median time of each phase of a step."""
    times: dict[str, list[float]] = defaultdict(list)
    phases, total, steps = step.phases(), 0.0, 0
    while steps < protocol.warm_up + protocol.repeats or total < protocol.seconds:
        for name, phase in phases.items():
            times[name].append(seconds_of(phase, step.ours.runtime.device))
        steps += 1
        total += sum(taken[-1] for taken in times.values()) if steps > protocol.warm_up else 0
    return {name: median(taken[protocol.warm_up :]) for name, taken in times.items()}


@dataclass(frozen=True)
class Operation:
    """One name of the profiler's, in one kind."""

    name: str
    kind: str
    calls: float  # in a step
    share: float  # of the step, without what it calls


def kind_of(name: str) -> str | None:
    """The kind of an operation; None for one that the table lacks."""
    short = name.removeprefix("aten::")
    for kind, patterns in KINDS.items():
        if any(fnmatchcase(short, pattern) for pattern in patterns.split()):
            return kind
    return None


def profiled(step: TrainingStep, steps: int) -> tuple[float, list[Operation]]:
    """The seconds of a step under the profiler, and where they go, the largest share first. Shares sum to one."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch 2.13's profiler reports on itself to standard error
    device, phases = step.ours.runtime.device, step.phases()
    gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    active = schedule(wait=0, warmup=1, active=steps)
    with torch.profiler.profile(activities=activities, schedule=active, acc_events=True) as profiler:
        for _ in range(1 + steps):
            phases["forward"]()
            phases["backward"]()
            with record_function(OPTIMIZER):
                phases[OPTIMIZER]()
            finish(device)
            profiler.step()

    total = 0.0  # microseconds, as all that the profiler tells
    spent: defaultdict[tuple[str, str], float] = defaultdict(float)
    calls: Counter[tuple[str, str]] = Counter()
    for event in profiler.events() or ():
        if event.device_type.name != "CPU":
            continue  # a kernel: it is known to the operation that launched it
        if event.name.startswith("ProfilerStep"):
            total += event.cpu_time_total
            continue
        key = event.name, OPTIMIZER if optimizes(event) else kind_of(event.name) or EVERYTHING_ELSE
        spent[key] += event.self_device_time_total if gpu else event.self_cpu_time_total
        calls[key] += 1
    spent[BETWEEN, EVERYTHING_ELSE] = total - sum(spent.values())
    calls[BETWEEN, EVERYTHING_ELSE] = steps
    found = [Operation(*key, calls[key] / steps, time / total) for key, time in spent.items() if time]
    return total / steps / 1e6, sorted(found, key=lambda operation: -operation.share)


def optimizes(event: FunctionEvent) -> bool:
    """Whether `event` is the optimizer's phase or happens in it."""
    above: FunctionEvent | None = event
    while above is not None and above.name != OPTIMIZER:
        above = above.cpu_parent
    return above is not None


def by_kind(operations: Sequence[Operation]) -> dict[str, float]:
    """The share of each kind, in the order of the table."""
    return {kind: sum(operation.share for operation in operations if operation.kind == kind) for kind in KINDS}
