"""What a command line may say when a run goes on, and when one begins with the weights of another."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from cli.record import Record, named_in
from cli.resume import init_from_config, merge_for_resume
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf, open_dict

from conf.schema import CONF, TrainConfig, register
from data.config import Source
from errors import UserError
from model.config import PositionKind
from training.config import Device


def record(*overrides: str) -> Record:
    """Of a run that is told so."""
    register()
    with initialize_config_dir(CONF, version_base="1.3"):
        composed = compose("train", list(overrides), return_hydra_config=True)
    choices = {name: composed.hydra.runtime.choices[name] for name in ("data", "experiment")}
    with open_dict(composed):
        del composed["hydra"]
    config = OmegaConf.to_object(composed)
    assert isinstance(config, TrainConfig)
    return Record(config, choices, dict.fromkeys(named_in(overrides), 1), {"threads": len(overrides)})


def gone_on(then: Sequence[str], now: Sequence[str]) -> Record:
    return merge_for_resume(record(*then), record(*now), now)


def test_what_is_not_said_again_is_as_it_was() -> None:
    then = ["model.layers=7", "experiment=shakespeare_cpu", "data=tiny_shakespeare", "seed=5", "board.probe=[abc]"]
    found = gone_on(then, [])
    assert found.config == record(*then).config
    assert (found.presets, found.settings) == (record(*then).presets, record(*then).settings)
    assert found.ran_on == {"threads": 0}  # where it runs now


def test_the_same_command_again_is_no_conflict() -> None:
    said = ["experiment=shakespeare_cpu", "data=tiny_shakespeare", "model.attention=[single]", "seed=5", "name=again"]
    assert gone_on([*said, "resume=auto"], [*said, "resume=auto"]).config == record(*said, "resume=auto").config


def test_steps_may_grow_and_where_it_runs_may_change() -> None:
    new = ["training.steps=2000", "runtime.device=cpu", "data.path=moved.txt", "training.checkpoint_every=7"]
    found = gone_on(["training.steps=1000"], new)
    assert (found.config.training.steps, found.config.runtime.device) == (2000, Device.cpu)
    assert (found.config.data.path, found.config.training.checkpoint_every) == ("moved.txt", "7")
    assert set(found.settings) == {"training.steps", "runtime.device", "data.path", "training.checkpoint_every"}


def test_another_source_may_hold_the_same_text() -> None:
    assert gone_on([], ["data=tiny_shakespeare"]).config.data.source is Source.tiny_shakespeare
    assert gone_on(["data=tiny_shakespeare"], []).config.data.source is Source.tiny_shakespeare


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (["training.steps=800"], "training.steps=800 (was 900, may only grow)"),
        (["experiment=shakespeare_cpu"], "experiment=shakespeare_cpu (was laptop)"),
        (["model.attention=[single]"], "model.attention=[single] (was [multi])"),
        (["seed=1", "model.dropout=0.1"], "seed=1 (was 0), model.dropout=0.1 (was 0.0)"),
        (["training.patience=3"], "training.patience=3 (was None)"),
    ],
)
def test_every_difference_is_named(now: Sequence[str], said: str) -> None:
    with pytest.raises(UserError) as error:
        gone_on([], now)
    assert str(error.value) == f"resume: expected what the run was started with, got {said}"


def test_weights_fix_the_shape_of_what_begins_with_them() -> None:
    start, now = record("model.width=256").config.model, record().config.model
    assert init_from_config(start, now, ["seed=3", "training.steps=2"]) == start
    changed = replace(now, dropout=0.2, context=32)
    assert init_from_config(start, changed, ["model.dropout=0.2", "model.context=32"]) == replace(
        start, dropout=0.2, context=32
    )
    with pytest.raises(UserError, match=r"init_from: .*, got model\.width=128 \(is 256\)"):
        init_from_config(start, now, ["model.width=128"])


def test_learned_positions_fix_the_context_too() -> None:
    start = replace(record().config.model, position=PositionKind.learned)
    with pytest.raises(UserError, match=r"model\.context=32 \(is 64\)"):
        init_from_config(start, replace(start, context=32), ["model.context=32"])
