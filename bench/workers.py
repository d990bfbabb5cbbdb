"""Contestants in processes of their own, in turn round by round: what one sets (memory, threads) touches no other."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from tqdm import tqdm

from bench.harness import INSTALL, version
from bench.training_step import Shape


@dataclass(frozen=True)
class Model:
    """A model ready to be timed: `run` takes a training step on inputs and targets (B, T), or samples so many ids of
    each sequence and returns how many came of all sequences together.
    """

    run: Callable[..., Any]
    parameters: int
    settings: str
    seconds: Callable[[int], float] | None = None  # to sample so many ids, by the clock of a peer that has one


@dataclass(frozen=True)
class Contestant:
    """One side of a comparison. `prepare` is a function of a module, which another process can import."""

    name: str
    prepare: Callable[[Shape, torch.device], Model]
    ours: bool = False  # compared with all that are not
    package: str | None = None  # that must be installed
    compiled: bool = False  # which takes long


@dataclass
class Outcome:
    """A contestant's model, and its answers: one for each round."""

    name: str
    ours: bool
    parameters: int
    settings: str
    rounds: list[Any] = field(default_factory=list)


Answer = Callable[[Any], Any]  # a request to its answer
Answering = Callable[[Model, Shape, torch.device], Answer]  # a function of a module
_answer: list[Answer] = []  # in the process of a contestant: its own


def compete(
    answering: Answering,
    contestants: Sequence[Contestant],
    shape: Shape,
    device: torch.device,
    request: Any,
    rounds: int,
) -> tuple[list[Outcome], dict[str, str]]:
    """The answers of all to one request in every round, in turn, and the failures of the others, in one line each.

    All get ready before any is timed.
    """
    outcomes, failed = dict[str, Outcome](), dict[str, str]()
    with ExitStack() as stack:
        spawning = multiprocessing.get_context("spawn")  # nothing of this process's state is inherited
        pools = {each.name: stack.enter_context(ProcessPoolExecutor(1, spawning)) for each in contestants}

        def call(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
            try:
                return pools[name].submit(function, *arguments).result()
            except Exception as error:  # a contestant may fail in any way, the others go on
                failed[name] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
                return None

        for each in contestants:
            outcomes[each.name] = call(each.name, _get_ready, answering, each, shape, device)
        for _ in tqdm(range(rounds), desc=f"{shape.name}, batch {shape.batch}", unit="round", disable=None):
            for name in [name for name in outcomes if name not in failed]:
                outcomes[name].rounds.append(call(name, _take_turn, request))
    return [outcome for name, outcome in outcomes.items() if name not in failed], failed


def _get_ready(answering: Answering, contestant: Contestant, shape: Shape, device: torch.device) -> Outcome:
    torch.manual_seed(0)
    model = contestant.prepare(shape, device)
    _answer.append(answering(model, shape, device))
    return Outcome(contestant.name, contestant.ours, model.parameters, model.settings)


def _take_turn(request: Any) -> Any:
    return _answer[0](request)


def installed(
    contestants: Sequence[Contestant], data: dict[str, Any], only: Sequence[str] | None = None
) -> list[Contestant]:
    """Those of the names `only`, if given, whose package is installed; the others are noted as left out, versions as
    well.
    """
    contestants = [each for each in contestants if only is None or each.name in only]
    missing = {each.name for each in contestants if each.package and not version(each.package)}
    data["left_out"] |= dict.fromkeys(sorted(missing), f"not installed: {INSTALL}")
    found = [each for each in contestants if each.name not in missing]
    data["versions"] |= {each.name: version(each.package) for each in found if each.package}
    return found
