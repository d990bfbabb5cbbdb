"""Values as typed, with and without `-m`; where Hydra cannot take them so, one line says the quoting."""

import shlex
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from tests.commands.helpers import call
from tests.fuzz.test_overrides import run

# `???` is OmegaConf's missing value.
TYPED: list[tuple[str, list[str], dict[str, list[Any]]]] = [
    ("train", ["name=español", "data.path=???"], {"name": ["español"], "data.path": ["???"]}),
    ("train", ["board.probe=???"], {"board.probe": [["???"]]}),
    ("train", ["-m", "name=español,français", "data.path=données.txt"], {"name": ["español", "français"]}),
    ("train", ["-m", "data.path=C:\\é,mes é/${name},???"], {"data.path": ["C:\\é", "mes é/laptop", "???"]}),
    ("train", ["-m", "data.path=l'été (1);${name}", "seed=0,1"], {"data.path": ["l'été (1);${name}"] * 2}),
    ("train", ["-m", 'data.path="a,b"', "board.probe=it's"], {"data.path": ["a,b"], "board.probe": [["it's"]]}),
    ("train", ["-m", "board.probe=[é,'b, c'],[???]"], {"board.probe": [["é", "b, c"], ["???"]]}),
    ("train", ["experiment=scoring_study", "model.scoring=dot", "data.path=a,é"], {"data.path": ["a,é"] * 3}),
    ("train", ["-m", "experiment=glob(shakespeare*)"], {"name": ["shakespeare_cpu", "shakespeare_gpu"]}),
    ("sample", ["prompt=???", "stop=???"], {"prompt": ["???"], "stop": [["???"]]}),
    ("sample", ["prompt_file=???", "stop=['???',a]"], {"prompt_file": ["???"], "stop": [["???", "a"]]}),
]


@pytest.mark.parametrize(("command", "arguments", "expected"), TYPED)
def test_what_is_typed_is_what_a_command_gets(
    command: str, arguments: list[str], expected: dict[str, list[Any]]
) -> None:
    ended = run(command, arguments)
    assert (ended.code, ended.errors) == (0, "")
    assert {name: [attrgetter(name)(config) for config in ended.configs] for name in expected} == expected


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [("data.path", 'it\'s, or "not"', 'it\'s, or "not"'), ("board.probe", "to be, or not", ["to be, or not"])],
)
def test_where_a_comma_would_split_a_text_the_quoting_is_shown(name: str, typed: str, value: str | list[str]) -> None:
    ended = run("train", ["-m", f"{name}={typed}"])
    assert (ended.code, ended.errors.count("\n"), ended.left) == (2, 1, set())
    (shown,) = shlex.split(ended.errors.partition("; to have it taken as one text: ")[2])
    assert [attrgetter(name)(config) for config in run("train", ["-m", shown]).configs] == [value]


def test_an_escape_in_a_prompt_is_taken_as_typed_and_hinted_at() -> None:
    ended = run("sample", ["prompt=it's\\n", "stop=\\nu"])
    assert (ended.configs[0].prompt, ended.configs[0].stop) == ("it's\\n", ["\\nu"])
    assert ended.errors == (r"prompt: \n is two characters, as typed; for one, in bash or zsh: prompt=$'it\'s\n'" "\n")


TORCHRUN = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("command", "name", "value", "named"),
    [
        ("train", "RANK", "", "WORLD_SIZE=2 without RANK: start by torchrun, or unset it\n"),
        ("sample", "MASTER_ADDR", "", "WORLD_SIZE=2 without MASTER_ADDR: start by torchrun"),
        ("sample", "WORLD_SIZE", "two", "WORLD_SIZE=two: expected a number below 65536; start by torchrun"),
        ("train", "LOCAL_RANK", "2", "LOCAL_RANK=2: expected a number below 2; start by torchrun"),
    ],
)
def test_variables_left_over_from_a_cluster_are_named_and_help_comes_all_the_same(
    command: str, name: str, value: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each, content in (TORCHRUN | {name: value}).items():
        monkeypatch.setenv(each, content)
    if not value:
        monkeypatch.delenv(name)
    ended = run(command, [])
    assert (ended.code, ended.errors.count("\n"), ended.left) == (2, 1, set())
    assert ended.errors.startswith(f"{command}.py: {named}")
    monkeypatch.setenv("RANK", "1")
    assert f"python {command}.py [name=value" in call("--help", folder=tmp_path, command=command).stdout
