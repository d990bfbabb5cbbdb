"""Time of one training step by phase and operation, and how far it is from what the machine can multiply.

python -m bench.profile [--quick] [--device cpu|cuda] [--shape small baby_gpt] [--output bench/results]
"""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.profiler import ProfilerActivity, record_function, schedule
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from bench.harness import Options, Protocol, Report, median_seconds, seconds_of, synchronize
from bench.training_step import SHAPES, Shape, TrainingStep, shape_on, shapes_on
from training.config import Precision

STEPS = Protocol(warm_up=3, repeats=10, seconds=2.0)
PROFILED, LISTED = 10, 15  # steps under the profiler, and operations of a shape in Markdown; JSON has all
SQUARES = {"cpu": (256, 512, 1024, 2048, 4096), "cuda": (1024, 2048, 4096, 8192, 16384)}  # whose product is the peak
OPTIMIZER, BETWEEN = "optimizer", "between operations"


def phases(step: TrainingStep) -> dict[str, Callable[[], None]]:
    """A training step cut in three, to be called in turn."""
    loss = list[Tensor]()

    def forward() -> None:
        loss.append(step.loss(step.model) / step.batch.characters)

    def backward() -> None:
        loss.pop().backward()

    def update() -> None:
        with record_function(OPTIMIZER):
            clip_grad_norm_(step.model.parameters(), step.config.gradient_clip)
            for optimizer in step.optimizers:
                optimizer.step()
            step.model.zero_grad(set_to_none=True)

    return {"forward": forward, "backward": backward, OPTIMIZER: update}


def operation_shares(step: TrainingStep, steps: int) -> dict[str, float]:
    """Shares of a step under torch's profiler, without what an operation calls, largest first. They sum to one.

    The name of an operation of the optimizer begins with "optimizer: ".
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch 2.13's profiler reports on itself to standard error
    gpu = step.runtime.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    active = schedule(wait=0, warmup=1, active=steps)
    with torch.profiler.profile(activities=activities, schedule=active, acc_events=True) as profiler:
        for _ in range(1 + steps):
            for phase in phases(step).values():
                phase()
            synchronize(step.runtime.device)
            profiler.step()
    total = 0.0  # microseconds
    spent: dict[str, float] = defaultdict(float)
    for event in profiler.events() or ():
        if event.device_type.name != "CPU":
            continue  # a kernel: the operation that launched it has its time
        if event.name.startswith("ProfilerStep"):
            total += event.cpu_time_total
            continue
        above = event
        while above.cpu_parent is not None and above.name != OPTIMIZER:
            above = above.cpu_parent
        name = f"{OPTIMIZER}: {event.name}" if above.name == OPTIMIZER else event.name
        spent[name] += event.self_device_time_total if gpu else event.self_cpu_time_total
    spent[BETWEEN] = total - sum(spent.values())
    return {name: time / total for name, time in sorted(spent.items(), key=lambda item: -item[1])}


def count_flop(step: TrainingStep, shape: Shape) -> dict[str, int]:
    """Floating-point operations of the products in one step, those of the optimizer as torch counts them."""
    weights = sum(module.weight.numel() for module in step.decoder.modules() if isinstance(module, nn.Linear))
    characters, parts = shape.batch * shape.context, phases(step)
    parts["forward"]()
    parts["backward"]()
    with FlopCounterMode(display=False) as counter:
        parts[OPTIMIZER]()
    attention = 6 * shape.layers * shape.width * (shape.context + 1) * characters  # causal
    return {"linear": 6 * weights * characters, "attention": attention, OPTIMIZER: counter.get_total_flops()}


def matmul_rate(device: torch.device, size: int, protocol: Protocol, dtype: torch.dtype) -> float:
    """FLOP/s of the product of two square matrices, 2 size^3 FLOP."""
    left, right, product = torch.randn(3, size, size, device=device, dtype=dtype)
    return 2 * size**3 / median_seconds(lambda: torch.mm(left, right, out=product), device, protocol)


def profile(shape: Shape, device: torch.device, peak: float, quick: bool) -> dict[str, Any]:
    """Time, take apart and count the training step of one shape."""
    flop = count_flop(TrainingStep(shape, device), shape)  # a step of its own, as being watched leaves traces
    step, protocol = TrainingStep(shape, device), Protocol(repeats=1, seconds=0) if quick else STEPS
    seconds, parts = median_seconds(step.take, device, protocol), phases(step)
    turns = [{name: seconds_of(part, device) for name, part in parts.items()} for _ in range(protocol.repeats + 1)][1:]
    medians = {name: median(turn[name] for turn in turns) for name in parts}
    return {
        **{"shape": shape, "parameters": step.decoder.parameter_count(), "settings": step.settings()},
        **{"seconds": seconds, "phases": medians, "shares": operation_shares(step, 2 if quick else PROFILED)},
        **{"flop": flop, "limit_seconds": sum(flop.values()) / peak},
    }


def add_shape(report: Report, found: dict[str, Any]) -> None:
    shape, seconds, limit = found["shape"], found["seconds"], found["limit_seconds"]
    times = {"step, ms": 1e3 * seconds} | {f"{part}, ms": 1e3 * time for part, time in found["phases"].items()}
    size = {"parameters": f"{found['parameters']:,}", "runs in": found["settings"]}
    flop = {f"{part}, GFLOP": f"{n / 1e9:.4g}" for part, n in found["flop"].items()}
    rate = {"GFLOP/s over the step": sum(found["flop"].values()) / seconds / 1e9, "limit, ms": 1e3 * limit}
    shares = [{"operation": name, "share": f"{share:.1%}"} for name, share in [*found["shares"].items()][:LISTED]]
    matmul = sum(share for name, share in found["shares"].items() if name in ("aten::mm", "aten::addmm"))
    optimizer = sum(share for name, share in found["shares"].items() if name.startswith(OPTIMIZER))
    report.add(
        f"{shape.name}: {shape}",
        [{**size, **times, "characters/s": f"{shape.batch * shape.context / seconds:,.0f}"}],
        [{**flop, **rate, "share of the peak": f"{limit / seconds:.1%}", "step / limit": seconds / limit}],
        f"Matrix products of the model {matmul:.1%}, all of the optimizer {optimizer:.1%} of a profiled step.",
        shares,
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = Options("profile", __doc__)
    parser.add_argument("--shape", choices=tuple(SHAPES), nargs="+", help="by default both; in a quick trial small")
    options = parser.read(argv)
    device, quick = torch.device(options.device), options.quick
    report = Report(f"profile_{device.type}", "Where the time of a training step goes", device, quick)
    shapes = shapes_on(options.device, options.shape, quick)
    precision = TrainingStep(shape_on("cpu", "small", quick=True), device).runtime.precision
    dtype = torch.bfloat16 if precision is Precision.bf16 else torch.float32
    rates = {n: matmul_rate(device, n, Protocol(), dtype) for n in ((64,) if quick else SQUARES[device.type])}
    profiles = [profile(shape, device, max(rates.values()), quick) for shape in tqdm(shapes, disable=None)]
    for found in profiles:
        add_shape(report, found)
    report.add("Products of squares", [{"size": n, f"GFLOP/s in {precision}": rate / 1e9} for n, rate in rates.items()])
    report.data |= {"matmul_flop_per_second": rates, "profiles": profiles}
    report.save(options.output)


if __name__ == "__main__":
    main()
