"""The progress bar of a run, and its clock."""

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
    """The progress bar, and a clock that tells training from all else; to be closed. It updates the run's state."""

    def __init__(self, steps: int, state: TrainingState) -> None:
        self._steps = steps
        self._bar = tqdm(total=steps, initial=state.step, bar_format=BAR, dynamic_ncols=True, disable=None)
        self.restart(state)

    def restart(self, state: TrainingState) -> None:
        """Count on from `state`."""
        self.state = state
        # On the device until they are read; NaN for a step that was skipped.
        losses = [math.nan if loss is None else loss for loss in state.losses]
        self._losses = [torch.tensor(loss, dtype=torch.float32) for loss in losses]
        self._norm = torch.zeros(())
        self._reading = Reading(math.nan, math.nan, math.nan)
        self._started = time.perf_counter() - state.seconds
        self._paused_seconds = state.seconds - state.training_seconds
        self._read_at = state.training_seconds, state.characters
        self._bar.n = state.step

    def stepped(self, loss: Tensor, norm: Tensor, characters: int) -> None:
        """Count one training step without waiting for the device."""
        self.state.step += 1
        self.state.characters += characters
        self._losses.append(loss)
        self._norm = norm
        self._bar.update()

    def read(self) -> Reading:
        """The reading of the steps since the last one, of which there is at least one. Waits for the device."""
        losses, norm = self._losses_on_cpu(), self._norm.item()
        taken = losses.isfinite()
        for step_was_taken in taken.tolist():
            self.state.skipped += not step_was_taken
            self.state.skipped_in_a_row = 0 if step_was_taken else self.state.skipped_in_a_row + 1
        now, (before, characters) = self.training_seconds(), self._read_at
        speed = (self.state.characters - characters) / (now - before)
        self._read_at = now, self.state.characters
        self._losses.clear()
        self._reading = Reading(losses[taken].mean().item(), norm, speed)
        best = self.state.best_validation_loss
        shown = f"loss {self._reading.loss:.3f}" + ("" if best is None else f", best validation {best:.3f}")
        shown += f", {self.state.skipped} steps skipped" if self.state.skipped else ""
        self._bar.set_postfix_str(f"{shown}, {speed:,.0f} characters/s", refresh=False)
        return self._reading

    def last_was_taken(self) -> bool:
        """Whether the last step was not skipped. Waits for the device."""
        return bool(self._losses[-1].isfinite()) if self._losses else self.state.skipped_in_a_row == 0

    def update_state(self) -> TrainingState:
        """The run's state at this moment. Waits for the device."""
        self.state.losses = [loss if math.isfinite(loss) else None for loss in self._losses_on_cpu().tolist()]
        self.state.seconds, self.state.training_seconds = self.seconds(), self.training_seconds()
        return self.state

    def print_evaluation(self) -> None:
        """Print a line that stays, with the validation loss if there is one."""
        step, loss = self.state.step, self.state.validation_loss
        validation = "" if loss is None else f"validation {loss:.4f} nats/char ({loss / math.log(2):.4f} bits)  "
        left = self.seconds() / step * (self._steps - step)
        self.print(
            f"step {step:>{len(str(self._steps))}}/{self._steps}  loss {self._reading.loss:.4f}  "
            f"{validation}{self._reading.characters_per_second:,.0f} characters/s  {tqdm.format_interval(left)} left"
        )

    def print(self, line: str) -> None:
        self._bar.write(line)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside is not training's. Waits first for the steps that the device has yet to finish."""
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

    def _losses_on_cpu(self) -> Tensor:
        """Losses since the last reading (n,)."""
        return torch.stack([loss.cpu() for loss in self._losses]) if self._losses else torch.empty(0)
