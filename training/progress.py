"""What a run tells its user while it trains, and how fast it goes."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from tqdm import tqdm

from board.board import Reading
from training.state import TrainingState

# In a terminal; a log file gets the line of each evaluation alone.
BAR = "step {n_fmt}/{total_fmt} |{bar}| {remaining} left{postfix}"


class Progress:
    """A progress bar, and a clock that keeps training apart from all else; to be closed.

    It keeps the account of characters, losses, skipped steps and time in the run's state.
    """

    def __init__(self, steps: int, state: TrainingState) -> None:
        self._steps = steps
        self._bar = tqdm(total=steps, initial=state.step, bar_format=BAR, dynamic_ncols=True, disable=None)
        self.go_on_from(state)

    def go_on_from(self, state: TrainingState) -> None:
        """Count on from `state`."""
        self.state = state
        # On the device until they are read; NaN for a step that was skipped.
        self._losses = [torch.tensor(loss, dtype=torch.float32) for loss in state.losses]
        self._norm = torch.zeros(())
        self._reading = Reading(math.nan, math.nan, math.nan)
        self._started = time.perf_counter() - state.seconds
        self._paused_seconds = state.seconds - state.training_seconds
        self._read_at = state.training_seconds, state.characters  # at the last reading
        self._bar.n = state.step

    def stepped(self, loss: Tensor, norm: Tensor, characters: int) -> None:
        """Note one training step without waiting for the device."""
        self.state.step += 1
        self.state.characters += characters
        self._losses.append(loss)
        self._norm = norm
        self._bar.update()

    def read(self) -> Reading:
        """The reading of the steps since the last one, at least one. Waits for the device."""
        losses, norm = self._known_losses(), self._norm.item()
        taken = losses.isfinite()
        skipped = len(losses) - int(taken.sum())
        self.state.skipped += skipped
        last_taken = int(taken.nonzero().max()) if taken.any() else -1
        streak = len(losses) - 1 - last_taken
        self.state.skipped_in_a_row = streak if taken.any() else self.state.skipped_in_a_row + streak
        now, (then, characters) = self.training_seconds(), self._read_at
        speed = (self.state.characters - characters) / (now - then)
        self._read_at = now, self.state.characters
        self._losses.clear()
        self._reading = Reading(losses[taken].mean().item(), norm, speed)
        best = self.state.best_validation_loss
        shown = f"loss {self._reading.loss:.3f}" + (f", best validation {best:.3f}" if best < math.inf else "")
        shown += f", {self.state.skipped} steps skipped" if self.state.skipped else ""
        self._bar.set_postfix_str(f"{shown}, {speed:,.0f} characters/s", refresh=False)
        return self._reading

    def latest_was_taken(self) -> bool:
        """Whether the latest step was not skipped. Waits for the device."""
        return bool(self._losses[-1].isfinite()) if self._losses else self.state.skipped_in_a_row == 0

    def settle(self) -> TrainingState:
        """The run's state, brought up to this moment. Waits for the device."""
        self.state.losses = self._known_losses().tolist()
        self.state.seconds, self.state.training_seconds = self.seconds(), self.training_seconds()
        return self.state

    def evaluated(self) -> None:
        """Print a line that stays."""
        step, validation = self.state.step, self.state.validation_loss
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

    def _known_losses(self) -> Tensor:
        """Those since the last reading (n,), on the CPU."""
        return torch.stack([loss.cpu() for loss in self._losses]) if self._losses else torch.empty(0)
