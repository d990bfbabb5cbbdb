"""A run that was interrupted and resumed is the run that was not, to the last bit."""

import math
import os
import signal
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from board.config import BoardConfig
from model.config import PositionKind, ScoringKind
from tests.stress.compare import CLOCKS, leaves
from tests.training.helpers import before_steps, decoder, train
from training import loop
from training.checkpoint import CheckpointFolder, load_checkpoint
from training.config import Device, OptimizerKind, Precision, RuntimeConfig
from training.loop import Interrupted


def interrupt_at(monkeypatch: pytest.MonkeyPatch, *steps: int, by: signal.Signals = signal.SIGINT) -> None:
    """Send this process a signal in the middle of these steps, counted over all that it takes."""
    before_steps(monkeypatch, steps, lambda: signal.raise_signal(by))


def train_with_interruptions(directory: Path, **settings: Any) -> list[int]:
    """Train to the end, resumed after each interruption by a decoder with other weights. Returns the steps of these."""
    stops: list[int] = []
    shape = settings.pop("shape", {})
    while True:
        last = load_checkpoint(directory / "checkpoints" / "last.safetensors") if stops else None
        try:
            train(directory, decoder(seed=len(stops), **shape), last=last, **settings)
            return stops
        except Interrupted:
            stops.append(load_checkpoint(directory / "checkpoints" / "last.safetensors").step)


def content(file: Path) -> dict[str, str]:
    """Every value in a checkpoint but the times, by its place in it."""
    return {name: leaf for name, leaf in leaves(load_checkpoint(file)) if not name.endswith(CLOCKS)}


def curves(directory: Path) -> dict[str, list[tuple[int, Any]]]:
    """All that does not tell of time, samples, pictures and snapshots too, as TensorBoard shows it."""
    events = EventAccumulator(str(directory), size_guidance={"tensors": 0}).Reload()
    return {
        tag: [(event.step, make_ndarray(event.tensor_proto).tolist()) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
        if not tag.startswith(("speed/", "_hparams_/"))
    }


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("last.safetensors", "best.safetensors"):
        assert content(other / "checkpoints" / name) == content(one / "checkpoints" / name)
    assert curves(one) == curves(other)


@pytest.fixture
def compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Compares a run with the same one, interrupted."""

    def compare(*steps: int, **settings: Any) -> None:
        shape = settings.pop("shape", {})
        train(tmp_path / "whole", decoder(**shape), **settings)
        interrupt_at(monkeypatch, *steps)
        stops = train_with_interruptions(tmp_path / "parted", shape=shape, **settings)
        assert stops == list(steps)
        assert_same_run(tmp_path / "whole", tmp_path / "parted")

    return compare


@pytest.mark.parametrize("scoring", ScoringKind)
@pytest.mark.parametrize("position", PositionKind)
def test_every_scoring_resumes_with_every_position_in_both_kinds_of_block(
    compared: Callable[..., None], scoring: ScoringKind, position: PositionKind
) -> None:
    shape = {"attention": ["single", "multi"], "scoring": scoring, "position": position, "dropout": 0.1}
    shape |= {"token_shift": True, "activation": "relu_squared"}
    compared(3, shape=shape, steps=6, evaluate_every=5)


@pytest.mark.parametrize("steps", [(1,), (20, 21), (5, 6, 7, 39)])
def test_a_run_can_be_interrupted_at_any_step_any_number_of_times(
    compared: Callable[..., None], steps: tuple[int, ...]
) -> None:
    compared(*steps, shape={"dropout": 0.2}, board=BoardConfig(attention_every=3, pictures_every=7, sample_length=5))


def test_sums_by_two_threads_are_as_repeatable(compared: Callable[..., None]) -> None:
    torch.set_num_threads(2)  # `make test` has one otherwise
    compared(3, steps=6, evaluate_every=5)


@pytest.mark.parametrize("precision", [Precision.fp32, Precision.bf16, Precision.fp16])
@pytest.mark.parametrize("optimizer", OptimizerKind)
def test_every_precision_and_optimizer_resumes(
    compared: Callable[..., None], precision: Precision, optimizer: OptimizerKind
) -> None:
    runtime = RuntimeConfig(device=Device.cpu, precision=precision)
    compared(13, runtime=runtime, optimizer=optimizer, micro_batch_size=3, steps=16, evaluate_every=8)


def test_a_run_stops_when_patience_ends_which_counts_on(
    compared: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # So small a learning rate changes nothing in float32: no evaluation is better than the first.
    still = {"learning_rate": 1e-30, "muon_learning_rate": 1e-30, "weight_decay": 0.0}
    compared(5, evaluate_every=2, patience=3, **still)
    assert load_checkpoint(tmp_path / "parted" / "checkpoints" / "last.safetensors").step == 8
    assert capsys.readouterr().out.count("stopped: no better validation loss in the last 3 evaluations") == 2


def test_without_validation_the_last_checkpoint_is_the_best_at_any_time(
    compared: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared(13, validated=False)  # interrupted between evaluations, and resumed
    folder = tmp_path / "parted" / "checkpoints"
    assert content(folder / "best.safetensors") == content(folder / "last.safetensors")
    found = curves(tmp_path / "parted")
    assert "loss/validation" not in found
    assert [step for step, _ in found["sample/text_summary"]] == [20, 40]
    assert "validation" not in capsys.readouterr().out


def fail(*_: Any) -> None:
    raise MemoryError


def test_steps_since_the_last_checkpoint_are_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path / "whole", checkpoint_every="7")
    before_steps(monkeypatch, {27}, fail)  # with no time to save
    with pytest.raises(MemoryError):
        train(tmp_path / "parted", checkpoint_every="7")
    last = load_checkpoint(tmp_path / "parted" / "checkpoints" / "last.safetensors")
    assert last.step == 21
    train(tmp_path / "parted", decoder(seed=5), last=last, checkpoint_every="7")
    assert_same_run(tmp_path / "whole", tmp_path / "parted")


def test_a_run_that_failed_before_its_first_checkpoint_begins_anew_as_if_for_the_first_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "whole")

    monkeypatch.setattr(CheckpointFolder, "save", fail)
    for _ in range(2):
        with pytest.raises(MemoryError):
            train(tmp_path / "parted")
        assert len(curves(tmp_path / "parted")["config/text_summary"]) == 1
    monkeypatch.undo()
    train(tmp_path / "parted")
    assert_same_run(tmp_path / "whole", tmp_path / "parted")


def test_a_second_signal_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before_steps(monkeypatch, {1}, twice)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)
    assert load_checkpoint(tmp_path / "checkpoints" / "last.safetensors").step == 0


def test_sigterm_is_handled_though_nobody_reads_of_it_and_handlers_are_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    interrupt_at(monkeypatch, 3, by=signal.SIGTERM)
    with os.fdopen(writer, "w") as broken, redirect_stderr(broken), pytest.raises(Interrupted) as interrupted:
        train(tmp_path)
    assert interrupted.value.exit_code == 143
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_finished_run_stays_as_it_is_or_may_be_given_more_steps(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints" / "last.safetensors"
    _, outcome = train(tmp_path)
    before = content(file)
    _, again = train(tmp_path, last=load_checkpoint(file))
    assert again.final_validation_loss == outcome.final_validation_loss
    assert content(file) == before
    _, longer = train(tmp_path, last=load_checkpoint(file), steps=60)
    assert (longer.steps, longer.characters) == (60, 60 * 4 * 8)
    assert longer.seconds > outcome.seconds
    assert [step for step, _ in curves(tmp_path)["loss/validation"]] == [20, 40, 60]
    assert longer.final_validation_loss is not None
    assert math.isfinite(longer.final_validation_loss)


def test_a_run_that_patience_ended_goes_on_and_evaluating_at_other_steps_changes_nothing_that_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(loop, "evaluate", lambda *_: 1.0)
        _, outcome = train(tmp_path / "parted", evaluate_every=5, patience=3)
    assert outcome.steps == 20
    last = load_checkpoint(tmp_path / "parted" / "checkpoints" / "last.safetensors")
    _, still = train(tmp_path / "parted", decoder(seed=5), last=last, evaluate_every=5, patience=2)
    assert still.steps == 20
    _, outcome = train(tmp_path / "parted", decoder(seed=5), last=last, evaluate_every=7, patience=None)
    assert outcome.steps == 40
    whole, parted = (content(tmp_path / name / "checkpoints" / "last.safetensors") for name in ("whole", "parted"))
    learned = [name for name in whole if name.startswith(("weights/", "optimizer_state/"))]
    assert learned
    assert [parted[name] for name in learned] == [whole[name] for name in learned]
