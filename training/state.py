"""The state of a run, which checkpoints hold. Apart from the progress bar, as sampling need not load a board."""

import math
from dataclasses import dataclass, field, fields

from training.config import TrainingConfig


@dataclass(kw_only=True)
class TrainingState:
    """All counts are since the beginning of the run, however often it was interrupted. Losses are in nats/char."""

    step: int = 0  # optimizer steps taken
    characters: int = 0  # trained on, repetitions counted
    seconds: float = 0.0  # of the whole loop, with evaluation and logging
    training_seconds: float = 0.0  # of the training steps alone
    losses: list[float | None] = field(default_factory=list)  # of the steps since the last reading; None if skipped
    validation_loss: float | None = None  # the latest, if there is a validation split
    best_validation_loss: float | None = None
    evaluations_since_best: int = 0
    skipped: int = 0  # steps whose loss or gradient was not finite
    skipped_in_a_row: int = 0  # up to the last reading
    rollbacks: int = 0  # each has halved the learning rates

    def compare_with_best(self) -> bool:
        """Let the latest validation loss, if there is one, be the best if it is; returns whether it is."""
        if self.validation_loss is None:
            return False
        self.evaluations_since_best += 1
        is_best = self.best_validation_loss is None or self.validation_loss < self.best_validation_loss
        if is_best:
            self.best_validation_loss, self.evaluations_since_best = self.validation_loss, 0
        return is_best

    def is_finished(self, config: TrainingConfig) -> bool:
        """Whether all steps are taken, or patience has ended."""
        return self.step >= config.steps or self.evaluations_since_best >= (config.patience or math.inf)

    def problems(self) -> list[str]:
        """Errors in these values, one entry each."""
        counts = {each.name: getattr(self, each.name) for each in fields(self) if each.type is int}
        return [f"state.{name}: expected at least 0, got {count}" for name, count in counts.items() if count < 0]
