"""What becomes of a run whose loss or gradients are no longer finite."""

import json
import math
from pathlib import Path

from board.board import Board
from data.batches import Batches
from errors import UserError
from files import replacing
from training.config import OnDivergence, OptimizerKind, TrainingConfig
from training.folder import CheckpointFolder
from training.learner import Learner
from training.progress import Progress
from training.state import TrainingState

STREAK = 20  # steps skipped in a row that are no bad luck; the scale of fp16 takes a few to settle
ROLLBACKS = 3  # in a run


def has_diverged(state: TrainingState, evaluated: bool) -> bool:
    """Whether training has. `evaluated`: whether the validation loss is of this step."""
    return state.skipped_in_a_row >= STREAK or (evaluated and not math.isfinite(state.validation_loss))


def roll_back(
    learner: Learner,
    batches: Batches,
    config: TrainingConfig,
    board: Board,
    checkpoints: CheckpointFolder,
    progress: Progress,
) -> TrainingState:
    """Take up the last checkpoint again, with smaller learning rates. Returns the state that training is in then.

    Keeps the batch that was the first to go wrong. Raises UserError if the run is to stop, or has gone back too often.
    """
    state = progress.settle()
    first = state.step - max(state.skipped_in_a_row, 1)
    kept = ""
    if checkpoints.ranks.is_first:
        try:
            kept = str(keep_batch(batches, first, checkpoints.vocabulary, checkpoints.directory.parent / "diverged"))
        except OSError as error:
            kept = f"not kept, {error.strerror}"
    what = f"the loss is not finite any more from step {first + 1} on (its batch: {kept})"
    if config.on_divergence is OnDivergence.stop or state.rollbacks == ROLLBACKS:
        names, rates = "training.learning_rate", f"{config.learning_rate}"
        if config.optimizer is OptimizerKind.muon:
            names, rates = f"{names}, training.muon_learning_rate", f"{rates} and {config.muon_learning_rate}"
        after = f", after {state.rollbacks} rollbacks" if state.rollbacks else ""
        raise UserError(f"{names}: expected rates that training survives, got {rates}{after}: {what}")
    back = checkpoints.take_up(learner)
    back.rollbacks, back.skipped_in_a_row = state.rollbacks + 1, 0
    back.seconds = state.seconds
    back.skipped = state.skipped - sum(map(math.isnan, back.losses))  # those are counted when they are read
    board.roll_back_to(back.step)
    progress.go_on_from(back)
    progress.say(f"diverged: {what}; back to step {back.step} with learning rates halved")
    return back


def keep_batch(batches: Batches, number: int, vocabulary: str, folder: Path) -> Path:
    """Write the texts of batch `number`, each with the character after its end, for somebody to look at."""
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
