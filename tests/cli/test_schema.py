import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from cli.compose import compose, initialize, register, typed
from cli.mistakes import names_of
from conf.schema import COMMANDS, CONF, SampleConfig, TrainConfig
from model.decoder import Decoder

register()
EXPERIMENTS = sorted(file.stem for file in Path(CONF, "experiment").glob("*.yaml"))


def composed(*overrides: str) -> TrainConfig:
    with initialize():
        config = typed(compose("train", overrides))
    assert isinstance(config, TrainConfig)
    return config


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_preset_composes_and_is_sound_and_own_text_is_enough(experiment: str) -> None:
    config = composed(f"experiment={experiment}", "data.path=own.txt")
    assert config.problems() == []
    assert (config.name, config.data.path) == (experiment, "own.txt")


@pytest.mark.parametrize(("experiment", "parameters", "context"), [("cpu", 804_096, 64), ("gpu", 10.65e6, 256)])
def test_the_shakespeare_presets_are_no_larger_than_their_peers(
    experiment: str, parameters: float, context: int
) -> None:
    # nanoGPT's presets with 65 characters: its CPU preset has 795,904 parameters and 8,192 more for positions.
    model = composed(f"experiment=shakespeare_{experiment}").model
    assert model.context == context
    assert Decoder(model, 65).parameter_count() <= parameters


def test_every_problem_is_reported_together() -> None:
    wrong = [
        *("seed=-1", "name=a/b", "data.long_lines=cut", "data.validation_fraction=1", "data.test_fraction=-1"),
        *("data.max_vocabulary=1", "model.heads=0", "model.dropout=-0.1", "model.attention_dropout=1"),
        *("model.token_dropout=1", "model.position_scale=0"),
        *("training.steps=0", "training.micro_batch_size=0", "training.patience=0", "training.test_stride=0"),
        *("training.learning_rate=nan",),
        *("training.muon_learning_rate=0", "training.warmup=1", "training.weight_decay=-1", "board.probe=['']"),
        *("board.attention_every=0", "board.pictures_every=0", "board.sample_length=-1"),
    ]
    problems = composed(*wrong).problems()
    assert [problem.split(":")[0] for problem in problems] == [override.split("=")[0] for override in wrong]
    assert all("expected" in problem and "got" in problem for problem in problems)


def test_what_needs_validation_or_windows_is_refused_without() -> None:
    assert composed("data.validation_fraction=0", "data.test_fraction=0.1").problems() == []
    wrong = ["data.validation_fraction=0", "training.patience=3", "data.unit=line", "data.split=blocks"]
    wrong.append("training.test_stride=8")
    assert [problem.partition(", got")[0] for problem in composed(*wrong).problems()] == [
        "training.patience: expected null with data.validation_fraction=0",
        "training.test_stride: expected null with data.unit=line",
        "data.split: expected it without data.unit=line, which splits at random",
    ]


def test_windows_are_at_most_one_context_apart() -> None:
    assert composed("model.context=8", "training.test_stride=8").problems() == []
    (problem,) = composed("model.context=8", "training.test_stride=9").problems()
    assert problem == "training.test_stride: expected at most model.context=8, got 9"


def test_validation_and_test_split_leave_something_to_train_on() -> None:
    (problem,) = composed("data.validation_fraction=0.5", "data.test_fraction=0.5").problems()
    assert problem.startswith("data.validation_fraction, data.test_fraction: expected less than 1 together, got 0.5")


def declared(kind: Any) -> Iterator[tuple[str, Any]]:
    for name, each in get_type_hints(kind).items():
        yield from declared(each) if is_dataclass(each) else [(name, each)]


def test_a_setting_is_a_number_in_all_runs_or_a_text_in_all() -> None:
    # Or null: TensorBoard can neither sort nor filter a column of the HParams tab that holds numbers and texts.
    for name, kind in declared(TrainConfig):
        kinds = {each in (int, float) for each in get_args(kind) or [kind] if each is not type(None)}
        assert len(kinds) == 1, name


@pytest.mark.parametrize("command", ["train", "sample"])
def test_help_names_only_what_there_is(command: str) -> None:
    page = Path(CONF, f"{command}.yaml").read_text(encoding="utf-8")
    template = page[page.index("template:") :]
    named = re.findall(r"^ +([a-z_.]+)=", template, re.M) + re.findall(r" ([a-z_]+\.[a-z_]+)=", template)
    assert len(named) > 5
    assert set(named) <= set(names_of(COMMANDS[command]))


def test_help_knows_the_defaults() -> None:
    page = Path(CONF, "sample.yaml").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^ +([a-z_]+)=\S+ .*\(([0-9.]+)\)$", page, re.M))
    defaults = SampleConfig()
    assert set(stated) == {"length", "count", "temperature", "seed"}
    assert all(float(number) == getattr(defaults, name) for name, number in stated.items())
