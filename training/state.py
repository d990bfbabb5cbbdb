"""How far a run has come: plain values, which a checkpoint keeps beside weights and optimizers."""

import math
from dataclasses import dataclass, field, fields


@dataclass(kw_only=True)
class TrainingState:
    """Everything counts from the beginning of the run, however often it was interrupted."""

    step: int = 0  # optimizer steps taken
    characters: int = 0  # trained on, repetitions counted
    seconds: float = 0.0  # of the whole loop, with evaluation and logging
    training_seconds: float = 0.0  # of the training steps alone
    losses: list[float] = field(default_factory=list)  # of the steps since the latest reading, nats/char
    validation_loss: float = math.nan  # the latest, nats/char
    best_validation_loss: float = math.inf
    evaluations_since_best: int = 0
    skipped: int = 0  # steps, because loss or gradient was not finite
    skipped_in_a_row: int = 0  # up to the latest reading
    rollbacks: int = 0  # each has made the learning rates smaller

    def evaluated(self) -> None:
        """Compare the latest validation loss with the best."""
        self.evaluations_since_best += 1
        if self.validation_loss < self.best_validation_loss:
            self.best_validation_loss, self.evaluations_since_best = self.validation_loss, 0

    def problems(self) -> list[str]:
        """What no run can have come to."""
        counts = {each.name: getattr(self, each.name) for each in fields(self) if each.type is int}
        return [f"state.{name}: expected at least 0, got {count}" for name, count in counts.items() if count < 0]
