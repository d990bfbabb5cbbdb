"""Command lines of both commands: each gives a sound configuration, or ends in one line."""

import os
import re
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cli.mistakes import GROUPS, names_of
from cli.overrides import as_typed, quote
from conf.schema import COMMANDS
from tests.commands.helpers import call
from training.config import to_dict
from training.run_folder import LOCK

SIGNS = [*"[]{}()'\"\\,:=~+@ \n\t#%$*;|&<>\x1b", "${", "${oc.env:HOME}", "${name}", "${now:%Y}", "${oc.nope:}", "???"]
WORDS = "null true nan -inf 0x10 1_000 1e400 -0 a é 😀 [single] {a:1} choice(1,2) range(1,4) sort(2,1) int(3.5) glob(*)"
WORDS += " interval(0,1) tag(x,1) shuffle(1,2) extend_list(1) range(1,4,0)"
FLAGS = "--help -h --version --cfg=job --cfg -c job --info --resolve --run -- - --x --config-name=x --config-dir=x"
HYDRA = "hydra hydra.nope hydra.job.name hydra.job.chdir hydra.verbose hydra.mode hydra/launcher hydra/sweeper"
UNKNOWN = ["", "modle.width", "model", "steps", "a b", "é", "data.path.x", "model.", ".", "/", "\x1b"]
# Hydra makes the folder that hydra.run.dir names: these are all within.
FOLDERS = f"in . a/b null runs/laptop/earlier ${{name}} ${{oc.env:HOME}}/in ${{nope}} [] {300 * 'x'}"
RUN = Path("runs/laptop/earlier/checkpoints/last.safetensors")  # is there before each command

# An argument has no zero byte, and of lone surrogates only those that stand for undecodable bytes.
undecodable = st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0") | undecodable
pieces = st.sampled_from(SIGNS + WORDS.split())
texts = st.one_of(
    st.text(characters),
    st.lists(pieces).map("".join),
    st.builds(lambda text, times: text * times, pieces, st.integers(1, 5000)),
)
numbers = st.integers(-2, 9) | st.integers() | st.sampled_from([2**31, 2**63, 10**30]) | st.floats()
values = st.one_of(numbers.map(str), numbers.map(str), texts)

few = settings(max_examples=12 if settings().derandomize else 500)  # Hydra takes half a second for each


@dataclass(frozen=True)
class Ended:
    """Outcome of a command line."""

    code: int
    errors: str
    configs: list[Any]  # that main got, one for each job
    left: set[str]  # files, seen from above the working directory, but for RUN and locks


def run(name: str, arguments: list[str]) -> Ended:
    """`python NAME.py ARGUMENTS` in a new folder, which is also the home, with a main that only notes what it got."""
    configs: list[Any] = []
    module = import_module(name)
    # Without the table at the end of a sweep: main leaves nothing to compare.
    command = replace(module.main, main=lambda config, _: configs.append(config), after_sweep=None)
    with TemporaryDirectory() as above, patch.object(module, "main", command):
        folder = Path(above, "here")
        (folder / RUN).parent.mkdir(parents=True)
        (folder / RUN).touch()
        with patch.dict(os.environ, {"HOME": str(folder)}):
            done = call(*arguments, folder=folder, command=name)
        files = {file.relative_to(above) for file in Path(above).rglob("*") if not file.is_dir()}
    left = {str(file) for file in files - {Path("here", RUN)} if file.name != LOCK}
    return Ended(done.returncode, done.stderr, configs, left)


def overrides(command: str) -> st.SearchStrategy[str]:
    """One argument, sound or not."""
    known = st.sampled_from([*names_of(COMMANDS[command]), *GROUPS])
    name = st.one_of(known, known, known, st.sampled_from(HYDRA.split()), st.sampled_from(UNKNOWN))
    prefix = st.sampled_from(["", "", "", "", "+", "++", "~"])
    return st.one_of(
        st.builds("{}={}".format, name, values),
        st.builds("{}{}={}".format, prefix, name, values),
        st.builds("hydra.run.dir={}".format, st.sampled_from(["", *FOLDERS.split()])),
        st.builds("~{}".format, name),
        st.sampled_from(FLAGS.split()),
        texts,
    )


def whole_numbers(value: Any) -> list[int]:
    """Those in nested plain values."""
    match value:
        case int():
            return [value]
        case dict():
            return [number for each in value.values() for number in whole_numbers(each)]
    return []


def check(command: str, ended: Ended) -> None:
    """Exit code 0, or 2 with one line and nothing written; whatever main got is sound and can be kept."""
    *lines, rest = ended.errors.split("\n")
    assert ended.code in (0, 2)
    for config in ended.configs:
        assert config.problems() == []
        if command == "train":  # a checkpoint holds 64-bit integers
            assert all(abs(number) < 2**63 for number in whole_numbers(to_dict(config)))
    assert all(file.startswith("here/") for file in ended.left)
    if ended.errors.startswith("usage: "):  # argparse said it, of a flag
        assert ended.code == 2
    elif ended.code == 2:
        assert (len(lines), rest) == (1, "")
        assert lines[0].startswith(f"{command}.py: ")
        assert not re.search(r"[\0-\x08\x0b-\x1f\x7f-\x9f]", lines[0])
        assert (ended.configs, ended.left) == ([], set())


@pytest.mark.parametrize("command", ["train", "sample"])
@few
@given(data=st.data())
def test_a_command_gets_a_sound_configuration_or_says_one_line(command: str, data: st.DataObject) -> None:
    check(command, run(command, data.draw(st.lists(overrides(command), max_size=4))))


@given(texts)
def test_free_text_arrives_as_it_was_typed(text: str) -> None:
    assume(text != "null")  # none
    value = OverridesParser.create().parse_override(quote(f"prompt={text}", ("prompt",))).value()
    assert as_typed(OmegaConf.create({"prompt": getattr(value, "text", value)}).prompt) == text


@settings(few, max_examples=few.max_examples // 4)  # each composes up to four jobs
@given(swept=st.lists(st.tuples(st.sampled_from([*names_of(COMMANDS["train"])]), values, values), max_size=2))
def test_a_sweep_says_one_line_for_each_job_that_cannot_run(swept: list[tuple[str, str, str]]) -> None:
    ended = run("train", ["-m", *(f"{name}={one},{other}" for name, one, other in swept)])
    assert ended.code in (0, 2)
    assert all(line.startswith("train.py: ") for line in ended.errors.splitlines())
    assert all(config.problems() == [] for config in ended.configs)
    assert all(file.startswith("here/") for file in ended.left)
