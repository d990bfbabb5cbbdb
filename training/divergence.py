"""Divergence: loss or gradients that are no longer finite, and the way back to the last checkpoint."""

import json
import math
from pathlib import Path

from board.board import Board
from data.batches import Batches
from errors import UserError
from files import replacing
from training.checkpoint import CheckpointFolder
from training.config import OnDivergence, OptimizerKind, TrainingConfig
from training.optimizer import Learner
from training.progress import Progress
from training.state import TrainingState

STREAK = 20  # steps skipped in a row that are no bad luck; the scale of fp16 takes a few to settle
ROLLBACKS = 3  # in a run


def has_diverged(state: TrainingState, evaluated: bool) -> bool:
    """Whether training has diverged. `evaluated`: whether the validation loss is of this step."""
    loss = state.validation_loss
    return state.skipped_in_a_row >= STREAK or (evaluated and loss is not None and not math.isfinite(loss))


def roll_back(
    learner: Learner,
    batches: Batches,
    config: TrainingConfig,
    board: Board,
    checkpoints: CheckpointFolder,
    progress: Progress,
) -> TrainingState:
    """Resume from the last checkpoint, with halved learning rates. Returns the new state.

    Writes the first batch that was not finite to a file. Raises UserError if the run is to stop, or was rolled back too
    often.
    """
    state = progress.update_state()
    first = state.step - max(state.skipped_in_a_row, 1)
    file = ""
    if checkpoints.ranks.is_first:
        try:
            file = str(save_batch(batches, first, checkpoints.vocabulary, checkpoints.directory.parent / "diverged"))
        except OSError as error:
            file = f"not saved, {error.strerror}"
    what = f"the loss is not finite any more from step {first + 1} on (its batch: {file})"
    if config.on_divergence is OnDivergence.stop or state.rollbacks == ROLLBACKS:
        rates = f"training.learning_rate={config.learning_rate}"
        if config.optimizer is OptimizerKind.muon:
            rates += f", training.muon_learning_rate={config.muon_learning_rate}"
        after = f", after {state.rollbacks} rollbacks" if state.rollbacks else ""
        raise UserError(f"expected learning rates that training survives, got {rates}{after}: {what}")
    back = checkpoints.restore_last(learner)
    back.rollbacks, back.skipped_in_a_row = state.rollbacks + 1, 0
    back.seconds = state.seconds
    back.skipped = state.skipped - back.losses.count(None)  # those are counted when they are read
    board.roll_back_to(back.step)
    progress.restart(back)
    progress.print(f"diverged: {what}; back to step {back.step} with learning rates halved")
    return back


def save_batch(batches: Batches, number: int, vocabulary: str, folder: Path) -> Path:
    """Write the texts of batch `number`, each with the character after its end, for a person to look at."""
    batch = batches.sequences.batch(batches.chosen(number))
    lens = [batch.inputs.shape[1]] * len(batch.inputs) if batch.valid_lens is None else batch.valid_lens.tolist()
    texts = [
        "".join(vocabulary[i] for i in [*inputs[:length], targets[length - 1]])
        for inputs, targets, length in zip(batch.inputs.tolist(), batch.targets.tolist(), lens, strict=True)
    ]
    file = folder / f"step_{number + 1}.json"
    with replacing(file) as stream:
        stream.write(json.dumps({"step": number + 1, "texts": texts}, indent=2, ensure_ascii=False).encode() + b"\n")
    return file
