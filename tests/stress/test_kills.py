"""A run is never lost: killed again and again at random moments and resumed, it equals an undisturbed one."""

import random
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from tests.process import Process
from tests.stress.compare import differences, saved_at, saved_step, unfinished, unloadable
from tests.stress.conftest import KILLS
from tests.stress.process import Reference, reference

SETUPS = {
    "Muon, rotary, dropout, bf16": "model.dropout=0.1 runtime.precision=bf16",
    "AdamW, learned positions, micro-batches, fp32, saved by the clock": "training.optimizer=adamw "
    "model.position=learned training.micro_batch_size=3 runtime.precision=fp32 training.checkpoint_every=.002min",
    "lines, additive": "data.unit=line model.context=32 model.scoring=additive training.steps=1000",
    "single heads, distance, attention dropout": "model.attention=[single] model.scoring=distance "
    "model.position=sinusoidal model.attention_dropout=0.1 model.token_dropout=0.1",
    "fp16, saved after each step": "runtime.precision=fp16 training.checkpoint_every=1 training.steps=500",
}
EARLY, AIMED = 1 / 5, 1 / 3  # shares of the kills: before the first checkpoint, and while a file is being written
DELAY = 0.005  # seconds, at most, between the beginning of that file and the kill
PROGRESS = 1 / 4  # of a run, at most, between two kills


def kill(process: Process, run: Path, undisturbed: Reference, chance: random.Random) -> bool:
    """Kill `process` at a random moment. Returns False if it had ended by itself."""
    before, left = saved_at(run), unfinished(run)
    if chance.random() < EARLY:
        process.exit_code(undisturbed.starting * chance.random())
    else:
        process.until(lambda: saved_at(run) > before)
        process.exit_code(undisturbed.training * PROGRESS * chance.random())
    if chance.random() < AIMED:
        process.until(lambda: bool(unfinished(run) - left))
        time.sleep(chance.choice((0, DELAY * chance.random())))
    return process.kill()


SHORT = pytest.param("Muon, rotary, dropout, bf16", 2, "training.steps=300", marks=pytest.mark.slow, id="short")
LONG = [  # KILLS together
    pytest.param(setup, -(-(KILLS - number) // len(SETUPS)), "", marks=pytest.mark.stress, id=setup)
    for number, setup in enumerate(SETUPS)
]


@pytest.mark.parametrize(("setup", "kills", "steps"), [SHORT, *LONG])
def test_a_run_killed_at_random_moments_loses_nothing(
    setup: str, kills: int, steps: str, text: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chance, killed, differ, broken = random.Random(setup), 0, list[str](), list[str]()
    with reference([f"data.path={text}", *f"{SETUPS[setup]} {steps}".split()], tmp_path / "reference") as undisturbed:
        for number in count():
            run, step = tmp_path / f"run_{number}", -1  # of the last checkpoint
            while killed < kills:
                with closing(undisturbed.start(run)) as process:
                    if not kill(process, run, undisturbed, chance):
                        process.assert_ends()
                        break
                killed += 1
                if problems := unloadable(run):
                    broken += problems
                    continue
                before, step = step, saved_step(run)
                differ += [f"from step {before} back to {step} by kill {killed}"] * (step < before)
            undisturbed.start(run).assert_ends()
            differ += differences(run, undisturbed.run)
            if killed == kills:
                break
    record_property("kills", killed)
    record_property("differences", len(differ))
    record_property("unloadable checkpoints", len(broken))
    assert (differ, broken) == ([], [])
