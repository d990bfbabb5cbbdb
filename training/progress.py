"""What a run tells its user while it trains, and how fast it goes."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

# In a terminal; a log file gets the line of each evaluation alone.
BAR = "step {n_fmt}/{total_fmt} |{bar}| {remaining} left{postfix}"


@dataclass(frozen=True)
class Reading:
    """How training went since the reading before."""

    loss: float  # mean, nats/char
    gradient_norm: float  # of the last step, before clipping
    characters_per_second: float  # of training alone


class Progress:
    """A progress bar, and a clock that keeps training apart from all else; to be closed."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self.characters = 0  # trained on so far
        self._bar = tqdm(total=steps, bar_format=BAR, dynamic_ncols=True, disable=None)
        self._losses: list[Tensor] = []  # on the device until they are read
        self._norm = torch.zeros(())
        self._best_validation = math.inf
        self._reading = Reading(math.nan, math.nan, math.nan)
        self._started = time.perf_counter()
        self._paused_seconds = 0.0
        self._read_at = 0.0, 0  # training seconds and characters at the last reading

    def stepped(self, loss: Tensor, norm: Tensor, characters: int) -> None:
        """Note one training step without waiting for the device."""
        self.characters += characters
        self._losses.append(loss)
        self._norm = norm
        self._bar.update()

    def read(self) -> Reading:
        """The reading of the steps since the last one, at least one. Waits for the device."""
        loss, norm = torch.stack(self._losses).mean().item(), self._norm.item()
        now, (then, characters) = self.training_seconds(), self._read_at
        speed = (self.characters - characters) / (now - then)
        self._read_at = now, self.characters
        self._losses.clear()
        self._reading = Reading(loss, norm, speed)
        best = f", best validation {self._best_validation:.3f}" if self._best_validation < math.inf else ""
        self._bar.set_postfix_str(f"loss {loss:.3f}{best}, {speed:,.0f} characters/s", refresh=False)
        return self._reading

    def evaluated(self, step: int, validation: float) -> None:
        """Print a line that stays."""
        self._best_validation = min(self._best_validation, validation)
        left = self.seconds() / step * (self._steps - step)
        self.say(
            f"step {step:>{len(str(self._steps))}}/{self._steps}  loss {self._reading.loss:.4f}  "
            f"validation {validation:.4f} nats/char ({validation / math.log(2):.4f} bits)  "
            f"{self._reading.characters_per_second:,.0f} characters/s  {tqdm.format_interval(left)} left"
        )

    def say(self, line: str) -> None:
        self._bar.write(line)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside is not training. Waits first for the training that the device has yet to finish."""
        if self._losses:
            self._losses[-1].item()
        start = time.perf_counter()
        yield
        self._paused_seconds += time.perf_counter() - start

    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def training_seconds(self) -> float:
        return self.seconds() - self._paused_seconds

    def close(self) -> None:
        self._bar.close()
