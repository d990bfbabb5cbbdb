"""Contestants in processes of their own, so that what one sets (memory, precision of products) touches no other."""

import multiprocessing
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

import torch

from bench.ours import Shape


@dataclass(frozen=True)
class Ready:
    """What a contestant says before it is timed."""

    parameters: int
    settings: str


class ContestantError(Exception):
    """Why a contestant gives no times, in one line."""


C = TypeVar("C")  # what a contestant is
Answer = Callable[[Any], Any]  # a request to what it came to
# In the process of a contestant: gets it ready, and returns what it says and how it answers. A function of a module.
GetReady = Callable[[Any, Shape, torch.device], tuple[Ready, Answer]]


def serve(pipe: Connection, get_ready: GetReady, contestant: Any, shape: Shape, device: torch.device) -> None:
    """Get ready and say so; then answer every request, until there is none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    with suppress(OSError):  # a parent that is gone wants no answer
        try:
            torch.manual_seed(0)
            ready, answer = get_ready(contestant, shape, device)
            pipe.send(ready)
            for request in iter(pipe.recv, None):
                pipe.send(answer(request))
        except Exception as error:
            pipe.send(ContestantError(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"))


class Worker(Generic[C]):
    """A contestant's process, as its parent sees it. One that has failed is asked no more."""

    def __init__(self, get_ready: GetReady, contestant: C, shape: Shape, device: torch.device) -> None:
        self.contestant = contestant
        self.ready: Ready | None = None
        self.answers: list[Any] = []  # one a round
        self.failure: str | None = None
        spawning = multiprocessing.get_context("spawn")  # nothing of the parent's state is inherited
        self._pipe, theirs = spawning.Pipe()
        given = theirs, get_ready, contestant, shape, device
        self._process = spawning.Process(target=serve, args=given, daemon=True)
        self._process.start()
        theirs.close()  # or the pipe would stay open when the process has died

    def get_ready(self) -> None:
        """Wait until it is."""
        self.ready = self._answer()

    def take_turn(self, request: Any) -> None:
        """Have it answer for one round, once it is ready."""
        if self.ready is None and self.failure is None:
            self.get_ready()
        if self.failure is None:
            with suppress(OSError):  # it has died, and so gives no answer either
                self._pipe.send(request)
            answer = self._answer()
            if self.failure is None:
                self.answers.append(answer)

    def close(self) -> None:
        with suppress(OSError):  # it has ended already
            self._pipe.send(None)
        self._process.join(timeout=5)  # what is still busy then, after Ctrl-C, ends with the parent
        self._pipe.close()

    def _answer(self) -> Any:
        """What it says, or None and the reason in `failure`."""
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            answer = ContestantError(f"its process ended with exit code {self._process.exitcode}")
        if not isinstance(answer, ContestantError):
            return answer
        self.failure = str(answer)
        return None
