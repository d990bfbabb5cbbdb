"""Both commands where each line of the text is a sequence of its own."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data.lines import fingerprints, split
from tests.commands.helpers import call
from training.checkpoint import load_checkpoint
from training.run_folder import find_checkpoint

NAMES = [first + middle + last for first in "bdfkl" for middle in ("a", "ee", "ou") for last in ("n", "na", "ris")]
SMALL = ["runtime.device=cpu", "data.path=names.txt", "data.unit=line", "model.layers=1", "model.width=32"]
SMALL += [
    "model.context=8",
    "training.batch_size=48",
    "training.steps=150",
    "training.learning_rate=1e-2",
    "training.evaluate_every=30",
]


def training_names() -> list[str]:
    parts, _ = split(fingerprints(NAMES), 0.1)
    return [name for name, part in zip(NAMES, parts, strict=True) if part == 0]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with names and a run that has learned them."""
    folder = tmp_path_factory.mktemp("names")
    (folder / "names.txt").write_text("\n".join(NAMES))
    done = call(*SMALL, "board.probe=bana", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "text     45 lines, 14 distinct characters, from names.txt\n" in done.stdout
    return folder


def test_lines_are_learned_from_their_beginning_to_their_end(names: Path) -> None:
    (summary,) = names.glob("runs/*/*/summary.json")
    outcome = json.loads(summary.read_text())
    assert outcome["best_validation_loss"] < 1.1  # nats/char; by the frequency of characters alone 2.3


def test_the_probe_and_ten_lines_are_shown_in_tensorboard(names: Path) -> None:
    (summary,) = names.glob("runs/*/*/summary.json")
    event = EventAccumulator(str(summary.parent)).Reload()
    probe, samples = (
        event.Tensors(f"{tag}/text_summary")[-1].tensor_proto.string_val[0].decode().split("\n")
        for tag in ("attention/probe_1", "sample")
    )
    assert probe == ["<pre><code>", "bana</code></pre>"]
    assert len(samples) == 10
    assert all(len(re.sub("<[^>]*>", "", line)) <= 8 for line in samples)


def test_sampling_gives_lines_and_marks_those_of_the_training_set(names: Path) -> None:
    done = call("count=40", "temperature=1.5", command="sample", folder=names)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 40
    training = training_names()
    for line in lines:
        name, tab, mark = line.partition("\t")
        assert (tab + mark == "\t(in the training set)") == (name in training)
    marked = sum(line.endswith("\t(in the training set)") for line in lines)
    assert 0 < marked < 40
    assert done.stderr.splitlines()[-1] == f"{marked} of 40 were in the training set"


def test_a_prompt_is_the_beginning_of_a_line(names: Path) -> None:
    given = call("prompt=kou", "count=5", command="sample", folder=names)
    assert given.returncode == 0, given.stderr
    assert all(line.startswith("kou") for line in given.stdout.splitlines())
    piped = call("prompt_file=-", "count=5", command="sample", folder=names, stdin="kou\n")
    assert piped.stdout == given.stdout


@pytest.mark.parametrize("prompt", ["a\nb", "bananas!"])
def test_a_prompt_that_is_no_beginning_of_a_line_is_a_clear_error(names: Path, prompt: str) -> None:
    done = call("prompt_file=-", command="sample", folder=names, stdin=prompt)
    assert (done.returncode, done.stdout) == (2, "")
    assert "prompt: expected the beginning of one line, at most model.context - 1 = 7 characters, got" in done.stderr


def test_long_lines_are_an_error_that_counts_them_or_what_the_user_says(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join([*NAMES, "maximilian"]))
    done = call(*SMALL, folder=tmp_path)
    assert done.returncode == 2
    assert "at most model.context - 1 = 7 characters, got 1 of 46 lines that are longer" in done.stderr
    done = call(*SMALL, "data.long_lines=skip", "training.steps=1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "45 lines, 14 distinct characters; 1 of 46 lines were skipped, as they are too long" in done.stdout


def test_a_checkpoint_knows_its_training_lines_by_number(names: Path) -> None:
    checkpoint = load_checkpoint(find_checkpoint(None, names / "runs"))
    assert checkpoint.training_lines is not None
    assert checkpoint.training_lines.tolist() == np.unique(fingerprints(training_names())).tolist()
