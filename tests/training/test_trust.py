import io
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from errors import UserError
from tests.commands.helpers import run
from tests.training.crafted import Call
from tests.training.helpers import CHARACTERS, decoder
from training.checkpoint import FORMAT, Checkpoint, load_checkpoint
from training.state import TrainingState

ROOT = Path(__file__).parents[2]
BILLION = 10**9


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A checkpoint as training leaves it."""
    torch.manual_seed(0)
    model = decoder(position="learned")
    checkpoint = Checkpoint(
        model=model.config,
        vocabulary=CHARACTERS,
        weights=model.state_dict(),
        state=TrainingState(step=40, losses=[1.5]),
        corpus_sha256="0" * 64,
        training_lines=torch.arange(3),
        run={"config": {"seed": 0}},
        optimizers=[{0: {"mean_gradient": torch.rand(4, 4)}}],
    )
    checkpoint.save(tmp_path / "last.pt")
    return tmp_path / "last.pt"


def refusal(file: Path) -> str:
    """What the user reads of it, in one line."""
    with pytest.raises(UserError) as error:
        load_checkpoint(file)
    message = str(error.value)
    assert message.startswith("checkpoint: expected one of this program's in ")
    assert message.isprintable()
    assert file.name in message
    assert len(message) < 500
    return message


def changed(file: Path, **changes: object) -> Path:
    torch.save(torch.load(file, weights_only=True) | changes, file)
    return file


def test_what_was_saved_is_what_is_loaded(file: Path) -> None:
    checkpoint = load_checkpoint(file)
    assert checkpoint.state.losses == [1.5]
    assert checkpoint.decoder()(torch.arange(8)[None]).shape == (1, 8, 8)
    assert load_checkpoint(changed(file)).model == checkpoint.model


def test_nothing_in_a_checkpoint_is_run(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    for name in [each.name for each in fields(Checkpoint)]:
        torch.save(torch.load(file, weights_only=True) | {name: Call(os.system, "touch marker")}, "bomb.pt")
        assert "names posix system" in refusal(Path("bomb.pt"))
    assert not Path("marker").exists()


WRONG: list[object] = [None, 1, 1.5, True, "x", [], [1], ["x"], [{}], {}, {"x": 1}, {0: torch.ones(2)}, ()]
WRONG += [torch.ones(2), -1, 2**62]
RIGHT: dict[str, list[object]] = {  # of these, what may stand there
    "training_lines": [None],
    "corpus_sha256": ["x"],
    "run": [{}, {"x": 1}, {0: torch.ones(2)}],
    "optimizers": [[], [{}]],
    "scaler": [{}, {"x": 1}, {0: torch.ones(2)}],
}


@pytest.mark.parametrize("name", [each.name for each in fields(Checkpoint)])
def test_a_value_of_a_wrong_type_is_refused_in_every_field(file: Path, name: str) -> None:
    right = [repr(each) for each in RIGHT.get(name, [])]
    for wrong in WRONG:
        if repr(wrong) not in right:
            torch.save(torch.load(file, weights_only=True) | {name: wrong}, file.with_name("wrong.pt"))
            refusal(file.with_name("wrong.pt"))


@pytest.mark.parametrize("part", ["model", "state"])
def test_a_value_of_a_wrong_type_is_refused_in_model_and_state(file: Path, part: str) -> None:
    values = torch.load(file, weights_only=True)[part]
    for name, value in values.items():
        wrong: list[object] = ["x", [["x"]], {}, torch.ones(2)]
        wrong += [None] if name != "feed_forward" else []
        wrong += [-1, 2.5] if isinstance(value, int) else []
        for each in wrong:
            refusal(changed(file, **{part: values | {name: each}}))
        refusal(changed(file, **{part: {other: values[other] for other in values if other != name}}))
    refusal(changed(file, **{part: values | {"more": 1}}))


def test_other_fields_than_those_of_the_format_are_refused_by_name(file: Path) -> None:
    whole = torch.load(file, weights_only=True)
    assert "more" in refusal(changed(file, more=1))
    assert len(refusal(changed(file, **{"\x1b[2J\n" + "x" * 10**4: 1}))) < 500
    for name in whole:
        torch.save({other: value for other, value in whole.items() if other != name}, file)
        assert name in refusal(file) or name == "format"


@pytest.mark.parametrize("found", [FORMAT - 1, FORMAT + 1, 10**15, None, "4", [4], torch.ones(3), -1, 0.5])
def test_another_format_is_refused_and_a_newer_one_is_said_to_be(file: Path, found: Any) -> None:
    message = refusal(changed(file, format=found))
    assert ("a newer version wrote it" in message) == (isinstance(found, int) and found > FORMAT)


@pytest.mark.parametrize(
    "claim",
    [
        {"layers": BILLION},
        {"width": BILLION},
        {"context": BILLION},
        {"heads": BILLION},
        {"feed_forward": BILLION},
        {"layers": BILLION, "attention": ["single"]},
        {"layers": BILLION, "width": BILLION, "context": BILLION},
        {"context": BILLION, "position": "rotary"},
        {"context": BILLION, "position": "sinusoidal"},
        {"context": BILLION, "position": "none"},
        {"width": 2**62},
        {"context": 2**62},
    ],
)
def test_a_model_that_is_larger_than_its_weights_is_refused(file: Path, claim: dict[str, object]) -> None:
    refusal(changed(file, model=torch.load(file, weights_only=True)["model"] | claim))


def test_a_vocabulary_that_is_not_that_of_the_weights_is_refused(file: Path) -> None:
    everything = "".join(map(chr, range(0x110000)))
    for wrong in ("", "ba", "aa", CHARACTERS + "h", CHARACTERS[1:], everything):
        refusal(changed(file, vocabulary=wrong))


def test_weights_that_are_not_those_of_the_model_are_refused(file: Path) -> None:
    weights = torch.load(file, weights_only=True)["weights"]
    name = next(iter(weights))
    weight = weights[name]
    for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.bool, torch.complex64):
        refusal(changed(file, weights=weights | {name: weight.to(dtype)}))
    for wrong in (weight.T.contiguous(), weight[:1], weight.flatten(), weight.tolist(), "x", None, torch.ones(())):
        refusal(changed(file, weights=weights | {name: wrong}))
    for odd in (float("nan"), float("inf"), float("-inf")):
        spoilt = weight.clone()
        spoilt[0, 0] = odd
        assert "not all finite" in refusal(changed(file, weights=weights | {name: spoilt}))
    refusal(changed(file, weights=weights | {"more": weight}))
    refusal(changed(file, weights={other: weights[other] for other in weights if other != name}))
    refusal(
        changed(file, weights=weights | {name: weight.expand(2, *weight.shape)[0].as_strided(weight.shape, (0, 0))})
    )


def test_a_damaged_checkpoint_is_refused(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    refusal(file)
    file.write_bytes(whole[: len(whole) // 2] + b"\x55" + whole[len(whole) // 2 + 1 :])
    refusal(file)
    file.write_bytes(b"")
    refusal(file)


def test_claims_of_100_gigabytes_take_no_memory(file: Path) -> None:
    whole = torch.load(file, weights_only=True)
    for i, claim in enumerate(({"layers": BILLION}, {"width": BILLION}, {"context": BILLION, "position": "rotary"})):
        torch.save(whole | {"model": whole["model"] | claim}, file.with_name(f"{i}.pt"))
    # Tables of a place for each of these, in every layer, which no weights vouch for.
    small = decoder(layers=50, width=2, heads=1, position="rotary")
    claim = whole["model"] | {"layers": 50, "width": 2, "heads": 1, "position": "rotary", "context": 2**28}
    torch.save(whole | {"weights": small.state_dict(), "model": claim}, file.with_name("3.pt"))
    torch.save(whole | {"run": {"x": Call(bytearray, 10**11)}}, file.with_name("4.pt"))
    script = f"""
import resource
from pathlib import Path
from errors import UserError
from training.checkpoint import load_checkpoint
load_checkpoint(Path({str(file)!r})).decoder()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for file in sorted(Path({str(file.parent)!r}).glob("[0-9].pt")):
    try:
        load_checkpoint(file)
        print("loaded")
    except UserError:
        print("refused")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    *refusals, grown = done.stdout.split()
    assert refusals == ["refused"] * 5
    assert int(grown) < 200  # MB


def test_the_command_says_what_is_wrong_in_one_line(file: Path) -> None:
    whole = torch.load(file, weights_only=True)
    stream = io.BytesIO()
    torch.save(whole | {"run": Call(os.system, "touch marker")}, stream)
    for content, reason in (
        (stream.getvalue(), "names posix system"),
        (file.read_bytes()[:-1], "not all of one"),
        (b"to be", "another kind"),
    ):
        file.write_bytes(content)
        done = run("sample", f"checkpoint={file}", folder=file.parent)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.startswith("sample.py: checkpoint: expected one of this program's in ")
        assert reason in done.stderr
    assert not (file.parent / "marker").exists()
