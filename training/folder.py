"""The checkpoints of one run, whatever the disk does."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from errors import UserError
from files import remove_unfinished
from training.checkpoint import LAST, Checkpoint, load_checkpoint
from training.distributed import SINGLE_PROCESS, Ranks
from training.optimizer import Learner
from training.progress import TrainingState


@dataclass
class CheckpointFolder:
    """A run's last and best checkpoint, and what all of them share. Rank 0 writes, and reads for all."""

    directory: Path
    vocabulary: str
    corpus_sha256: str
    training_lines: np.ndarray | None = None
    run: dict[str, Any] = field(default_factory=dict)  # JSON values: the run's configuration and machine
    ranks: Ranks = SINGLE_PROCESS
    _unsaved: dict[str, Checkpoint] = field(default_factory=dict)  # by the name of the file that could not be written
    _reason: str = ""  # why not

    def __post_init__(self) -> None:
        if self.ranks.is_first:
            remove_unfinished(self.directory)

    def save(self, name: str, learner: Learner, state: TrainingState, say: Callable[[str], None]) -> None:
        """Save the checkpoint `name`, and those that could not be saved before.

        If the disk does not let it, `say` gets the reason once, the old file stays, and the next call tries again.
        """
        if not self.ranks.is_first:
            return
        self._unsaved[name] = Checkpoint(
            model=learner.decoder.config,
            vocabulary=self.vocabulary,
            state=state,
            corpus_sha256=self.corpus_sha256,
            training_lines=None if self.training_lines is None else torch.from_numpy(self.training_lines),
            run=self.run,
            **learner.state_dict(),
        )
        for file, checkpoint in list(self._unsaved.items()):
            try:
                checkpoint.save(self.directory / file)
                del self._unsaved[file]
            except OSError as error:
                if not self._reason:
                    say(f"not saved: {error.strerror}: {self.directory / file}; trying again at the next checkpoint")
                self._reason = error.strerror or str(error)
                if file == name:  # training goes on and changes its tensors; another's are copies already
                    self._unsaved[file] = copy.deepcopy(checkpoint)
        if self._reason and not self._unsaved:
            say(f"saved again: {self.directory}")
            self._reason = ""

    def check_saved(self) -> None:
        """Raise UserError if the latest checkpoints are not on the disk."""
        if self._unsaved:
            names = ", ".join(self._unsaved)
            raise UserError(f"checkpoints: expected to save {names} in {self.directory}, got: {self._reason}")

    def restore_last(self, learner: Learner) -> TrainingState:
        """Restore `learner` from the last checkpoint, on every rank, and return its state."""
        checkpoint = None
        if self.ranks.is_first:
            unsaved = copy.deepcopy(self._unsaved.get(LAST))  # it may be needed again, and training changes it
            checkpoint = unsaved or load_checkpoint(self.directory / LAST)
        checkpoint = self.ranks.broadcast(checkpoint)
        checkpoint.restore(learner)
        return checkpoint.state
