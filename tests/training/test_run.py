"""A run's record and folder: what a command line may set when a run is resumed or begins with weights of another."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cli.compose import compose, initialize, register, typed
from cli.overrides import names
from conf.schema import TrainConfig
from data.config import Source, Split
from errors import UserError
from model.config import PositionKind
from training.config import to_dict
from training.run import Job, Record, init_from_config, merge_for_resume
from training.run_folder import claimed, has_run, newest_run


def record(*overrides: str) -> Record:
    """The record of a run with this command line."""
    register()
    with initialize():
        composed = compose("train", overrides)
    config = typed(composed)
    assert isinstance(config, TrainConfig)
    presets = {group: composed.hydra.runtime.choices[group] for group in ("data", "experiment")}
    return Record.of(config, Job(Path("run"), names(overrides), presets))


def resumed(saved: Sequence[str], current: Sequence[str]) -> Record:
    return merge_for_resume(record(*saved), record(*current), names(current), Path("run"))


def test_what_is_not_set_again_is_as_it_was() -> None:
    saved = ["model.layers=7", "experiment=shakespeare_cpu", "data=tiny_shakespeare", "seed=5", "board.probe=[abc]"]
    found = resumed(saved, [])
    assert found.config == record(*saved).config
    assert (found.presets, found.settings) == (record(*saved).presets, record(*saved).settings)


def test_the_same_command_again_is_no_conflict() -> None:
    given = ["experiment=shakespeare_cpu", "data=tiny_shakespeare", "model.attention=[single]", "seed=5", "name=again"]
    assert resumed([*given, "resume=auto"], [*given, "resume=auto"]).config == record(*given, "resume=auto").config


def test_steps_may_grow_and_where_it_runs_when_it_stops_and_what_is_shown_may_change() -> None:
    new = ["training.steps=2000", "runtime.device=cpu", "data.path=moved.txt", "training.checkpoint_every=7"]
    new += ["training.patience=null", "training.evaluate_every=9", "board.probe=[a]", "board.attention_every=3"]
    found = resumed(["training.steps=1000", "training.patience=2"], new)
    assert found.config == record(*new).config
    assert set(found.settings) >= {name for name, _, _ in (each.partition("=") for each in new)}


def test_another_source_may_hold_the_same_text() -> None:
    assert resumed([], ["data=tiny_shakespeare"]).config.data.source is Source.tiny_shakespeare
    assert resumed(["data=tiny_shakespeare"], []).config.data.source is Source.tiny_shakespeare


def test_every_difference_is_named() -> None:
    differences = {
        "training.steps=300": "was 700, may only grow",
        "experiment=shakespeare_cpu": "was laptop",
        "model.attention=[single]": "was [multi, single]",
        "seed=1": "was 0",
        "model.dropout=0.1": "was 0.0",
        "data.split=blocks": "was tail",
    }
    with pytest.raises(UserError) as error:
        resumed([], list(differences))
    named = ", ".join(f"{override} ({why})" for override, why in differences.items())
    assert str(error.value) == (
        f"resume: expected what the run was started with, got {named}; for a new run with its weights, if of the same "
        "shape: init_from=run"
    )


def test_a_record_of_a_version_that_lacked_a_setting_has_its_default() -> None:
    values = to_dict(record("data.validation_fraction=0.2"))
    del values["config"]["data"]["split"]
    assert Record.restore(values, TrainConfig).config.data.split is Split.tail
    del values["config"]["seed"]
    with pytest.raises(ValueError, match=r"run\.config: expected .*seed"):
        Record.restore(values, TrainConfig)


def test_weights_fix_the_shape_of_what_begins_with_them() -> None:
    initial, current = record("model.width=256").config.model, record().config.model
    assert init_from_config(initial, current, ["seed", "training.steps"]) == initial
    changed = replace(current, dropout=0.2, context=32)
    assert init_from_config(initial, changed, ["model.dropout", "model.context"]) == replace(
        initial, dropout=0.2, context=32
    )
    with pytest.raises(UserError, match=r"init_from: .*, got model\.width=128 \(is 256\)"):
        init_from_config(initial, current, ["model.width"])


def test_learned_positions_fix_the_context_too() -> None:
    initial = replace(record().config.model, position=PositionKind.learned)
    with pytest.raises(UserError, match=r"model\.context=32 \(is 256\)"):
        init_from_config(initial, replace(initial, context=32), ["model.context"])


def saved_run(folder: Path, name: str, age: int) -> Path:
    file = folder / "checkpoints" / name
    file.parent.mkdir(parents=True)
    file.touch()
    os.utime(file, (10**9 - age, 10**9 - age))
    return folder


def test_the_newest_run_is_the_one_saved_last_and_never_one_of_an_older_version(tmp_path: Path) -> None:
    assert newest_run(tmp_path / "laptop", "*") is None
    saved_run(tmp_path / "laptop" / "b", "last.safetensors", age=2)
    newest = saved_run(tmp_path / "laptop" / "a", "last.safetensors", age=1)
    saved_run(tmp_path / "laptop" / "c", "last.pt", age=3)
    assert newest_run(tmp_path / "laptop", "*") == newest_run(tmp_path, "**") == newest
    older = saved_run(tmp_path / "laptop" / "d", "last.pt", age=0)
    for look in (lambda: newest_run(tmp_path / "laptop", "*"), lambda: has_run(older)):
        with pytest.raises(UserError, match=r"^resume: expected .*, got .*/d/checkpoints/last\.pt of an older version"):
            look()


def test_a_folder_is_claimed_by_one_process_and_given_back_if_nothing_came_of_it(tmp_path: Path) -> None:
    def fail() -> None:
        with claimed(tmp_path, False, {"config": {"seed": 1}}):
            assert (tmp_path / ".hydra" / "config.yaml").read_text() == "seed: 1\n"
            with pytest.raises(UserError, match="no other process trains in, got"):
                claimed(tmp_path, True, {"config": {"seed": 2}}).__enter__()
            raise UserError("nothing came of it")

    for _ in range(2):
        with pytest.raises(UserError, match="nothing came of it"):
            fail()
        assert not list(tmp_path.iterdir())
    with claimed(tmp_path, False, {"config": {"seed": 1}}):
        (tmp_path / "summary.json").touch()
        unfinished = tmp_path / "checkpoints" / ".last.safetensors.0123abcd.tmp"
        unfinished.parent.mkdir()
        unfinished.touch()  # as a process leaves it that is killed
    with claimed(tmp_path, True, {}):
        assert not unfinished.exists()
    (tmp_path / "begun" / ".hydra").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "begun"):
        with pytest.raises(UserError, match="expected a folder without a run in it"):
            claimed(folder, False, {}).__enter__()
    assert [file.name for file in (tmp_path / "begun").iterdir()] == [".hydra"]
    assert (tmp_path / ".hydra" / "config.yaml").read_text() == "seed: 1\n"
