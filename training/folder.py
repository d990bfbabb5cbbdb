"""Where a run keeps its checkpoints, whatever becomes of the disk."""

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
from training.learner import Learner
from training.state import TrainingState


@dataclass
class CheckpointFolder:
    """A run's last and its best checkpoint, and what all of them share."""

    directory: Path
    vocabulary: str
    corpus_sha256: str
    training_lines: np.ndarray | None = None
    run: dict[str, Any] = field(default_factory=dict)  # plain values: what train.py was told, and where it runs
    ranks: Ranks = SINGLE_PROCESS  # of which the first writes, and reads for all
    _unsaved: dict[str, Checkpoint] = field(default_factory=dict)  # by the name of the file that it could not become
    _reason: str = ""  # why not

    def __post_init__(self) -> None:
        if self.ranks.is_first:
            remove_unfinished(self.directory)

    def save(self, name: str, learner: Learner, state: TrainingState, say: Callable[[str], None]) -> None:
        """Save the checkpoint `name`, and those that could not be saved before.

        If the disk does not let it, `say` gets the reason once, what was there stays, and the next call tries again.
        """
        if not self.ranks.is_first:
            return
        lines = None if self.training_lines is None else torch.from_numpy(self.training_lines)
        self._unsaved[name] = Checkpoint(
            vocabulary=self.vocabulary,
            state=state,
            corpus_sha256=self.corpus_sha256,
            training_lines=lines,
            run=self.run,
            **learner.kept(),
        )
        for file, checkpoint in list(self._unsaved.items()):
            try:
                checkpoint.save(self.directory / file)
                del self._unsaved[file]
            except OSError as error:
                if not self._reason:
                    say(f"not saved: {error.strerror}: {self.directory / file}; trying again at the next checkpoint")
                self._reason = error.strerror or str(error)
                if file == name:  # training goes on and changes the tensors; another's are copies already
                    self._unsaved[file] = copy.deepcopy(checkpoint)
        if self._reason and not self._unsaved:
            say(f"saved again: {self.directory}")
            self._reason = ""

    def check_saved(self) -> None:
        """Raise UserError if the latest checkpoints are not on the disk."""
        if self._unsaved:
            names = ", ".join(self._unsaved)
            raise UserError(f"checkpoints: expected to save {names} in {self.directory}, got: {self._reason}")

    def take_up(self, learner: Learner) -> TrainingState:
        """Bring `learner` to where the last checkpoint was made, and return how far that is."""
        checkpoint = None
        if self.ranks.is_first:
            unsaved = copy.deepcopy(self._unsaved.get(LAST))  # it may be needed again, and the learner changes it
            checkpoint = unsaved or load_checkpoint(self.directory / LAST)
        checkpoint = self.ranks.broadcast(checkpoint)
        learner.take_up(checkpoint)
        return checkpoint.state
