"""Contestants in processes of their own, so that what one sets (memory, precision of products) touches no other."""

import multiprocessing
import signal
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

from bench.machine import Protocol, median_seconds
from bench.ours import VOCABULARY_SIZE, Shape
from bench.peers import Contestant

BATCHES = 8  # that are made beforehand, and used in turn


@dataclass(frozen=True)
class Ready:
    """What a contestant says before it is timed."""

    parameters: int
    settings: str


class ContestantError(Exception):
    """Why a contestant gives no times, in one line."""


def serve(pipe: Connection, contestant: Contestant, shape: Shape, device: torch.device) -> None:
    """Get ready and say so; then answer every protocol with the median seconds of a step, until there is none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    with suppress(OSError):  # a parent that is gone wants no answer
        try:
            torch.manual_seed(0)
            training = contestant.prepare(shape, device)
            batches = cycle(random_batches(shape, device))
            pipe.send(Ready(training.parameters, training.settings))
            for protocol in iter(pipe.recv, None):
                pipe.send(median_seconds(lambda: training.step(*next(batches)), device, protocol))
        except Exception as error:
            pipe.send(ContestantError(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"))


def random_batches(shape: Shape, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Inputs and targets, (B, T) each: the same in every process."""
    size = (BATCHES, 2, shape.batch, shape.context)
    ids = torch.randint(VOCABULARY_SIZE, size, generator=torch.Generator().manual_seed(0)).to(device)
    return [(inputs, targets) for inputs, targets in ids]


class Worker:
    """A contestant's process, as its parent sees it. One that has failed is asked no more."""

    def __init__(self, contestant: Contestant, shape: Shape, device: torch.device) -> None:
        self.contestant = contestant
        self.ready: Ready | None = None
        self.seconds: list[float] = []  # a step, in each round
        self.failure: str | None = None
        spawning = multiprocessing.get_context("spawn")  # nothing of the parent's state is inherited
        self._pipe, theirs = spawning.Pipe()
        self._process = spawning.Process(target=serve, args=(theirs, contestant, shape, device), daemon=True)
        self._process.start()
        theirs.close()  # or the pipe would stay open when the process has died

    def take_turn(self, protocol: Protocol) -> None:
        """Time one round."""
        if self.failure is None:
            try:
                if self.ready is None:
                    self.ready = self._answer()
                self._pipe.send(protocol)
                self.seconds.append(self._answer())
            except ContestantError as error:
                self.failure = str(error)
            except (EOFError, OSError):
                self._process.join()
                self.failure = f"its process ended with exit code {self._process.exitcode}"

    def close(self) -> None:
        with suppress(OSError):  # it has ended already
            self._pipe.send(None)
        self._process.join(timeout=5)  # what is still busy then, after Ctrl-C, ends with the parent
        self._pipe.close()

    def _answer(self) -> Any:
        answer = self._pipe.recv()
        if isinstance(answer, ContestantError):
            raise answer
        return answer
