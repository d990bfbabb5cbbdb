import errno
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from model.decoder import Decoder
from tests.commands.helpers import run
from tests.training.helpers import CHARACTERS, decoder
from training.checkpoint import FORMAT, Checkpoint, load_checkpoint
from training.export import DESCRIPTION, WEIGHTS, export, load_export, main
from training.state import TrainingState

ROOT = Path(__file__).parents[2]
IDS = torch.arange(8)[None]


def checkpoint(**changes: Any) -> Checkpoint:
    model = decoder(attention=["single", "multi"], bias=True, position="learned")
    given: dict[str, Any] = {
        "model": model.config,
        "vocabulary": CHARACTERS,
        "weights": model.state_dict(),
        "state": TrainingState(step=40, characters=1280, losses=[1.5], best_validation_loss=1.25, seconds=2.0),
        "corpus_sha256": "0" * 64,
        "training_lines": torch.tensor([-(2**63), 2**63 - 1, 0]),
        "run": {"settings": {"seed": 0, "name": "é"}, "ran_on": {}},
    }
    return Checkpoint(**given | changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An exported one."""
    export(checkpoint(), tmp_path / "exported")
    return tmp_path / "exported"


def mistake(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """What the command says of it, in one line."""
    assert main([str(argument) for argument in argv]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n"), said.err[:-1].isprintable()) == ("", 1, True)
    assert said.err.startswith("export: ")
    return said.err


def described(folder: Path) -> Any:
    text = (folder / DESCRIPTION).read_text("ascii")
    return json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))


def test_what_was_exported_comes_back_but_for_what_training_needs(tmp_path: Path) -> None:
    before = checkpoint()
    before.save(tmp_path / "last.pt")
    assert main([str(tmp_path / "last.pt"), str(tmp_path / "new" / "exported")]) == 0
    assert main([str(tmp_path / "new" / "exported"), str(tmp_path / "again" / "last.pt")]) == 0
    after = load_checkpoint(tmp_path / "again" / "last.pt")
    assert torch.equal(after.decoder()(IDS), before.decoder()(IDS))
    assert after.training_lines is not None
    assert after.training_lines.tolist() == [-(2**63), 2**63 - 1, 0]
    assert after.run == {}  # it tells of the machine
    for name in ("model", "vocabulary", "corpus_sha256"):
        assert getattr(after, name) == getattr(before, name)
    assert (after.step, after.state.best_validation_loss, after.state.losses) == (40, 1.25, [])
    assert (after.optimizers, after.scaler) == ([], {})


def test_a_run_is_exported_by_its_folder_and_an_export_can_be_copied(tmp_path: Path) -> None:
    checkpoint().save(tmp_path / "run" / "checkpoints" / "best.pt")
    assert main([str(tmp_path / "run"), str(tmp_path / "first")]) == 0
    assert main([str(tmp_path / "first"), str(tmp_path / "second")]) == 0
    assert sorted(os.listdir(tmp_path / "second")) == [DESCRIPTION, WEIGHTS]
    for name in (DESCRIPTION, WEIGHTS):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_a_stranger_can_use_the_weights_by_what_stands_beside_them(folder: Path) -> None:
    content, weights = described(folder), safetensors.torch.load_file(folder / WEIGHTS)
    assert (content["format"], content["vocabulary"], content["state"]["step"]) == (FORMAT, CHARACTERS, 40)
    assert content["corpus_sha256"] == "0" * 64
    stranger = decoder(**content["model"])
    stranger.load_state_dict(weights)
    assert torch.equal(stranger.eval()(IDS), checkpoint().decoder()(IDS))


def test_the_description_is_strict_json_whatever_the_state_and_the_characters(tmp_path: Path) -> None:
    odd = "\0\n\x1b\"'\\\u2028\ud800\U0001f600"
    model = Decoder(decoder().config, len(odd))
    state = TrainingState(losses=[float("nan")], validation_loss=float("inf"))
    changes = {"model": model.config, "weights": model.state_dict(), "vocabulary": odd, "training_lines": None}
    export(checkpoint(**changes, state=state), tmp_path / "exported")
    assert "best_validation_loss" not in described(tmp_path / "exported")["state"]
    back = load_export(tmp_path / "exported")
    assert (back.vocabulary, back.training_lines, repr(back.state)) == (odd, None, repr(TrainingState()))
    assert os.listdir(tmp_path) == ["exported"]


def test_nothing_that_exists_is_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "last.pt").touch()
    (folder / "empty").mkdir()
    (folder / "link").symlink_to("nowhere")
    for target in (*folder.iterdir(), folder):
        assert "expected a new TARGET" in mistake(capsys, folder, target)
    assert (folder / "last.pt").read_bytes() == b""
    assert len(os.listdir(folder)) == 5


def test_an_export_that_fails_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save", no_space)
    target = folder.parent / "other"
    assert mistake(capsys, folder, target) == f"export: cannot write {target}: No space left on device\n"
    assert os.listdir(folder.parent) == ["exported"]


def test_without_the_library_the_command_says_how_to_get_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    how = "pip install --constraint constraints.txt --editable '.[export]'"
    assert how in mistake(capsys, folder, folder.parent / "last.pt")


def test_mistakes_in_the_command_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "SOURCE" in mistake(capsys)
    assert "TARGET" in mistake(capsys, "best")
    assert "expected a checkpoint" in mistake(capsys, tmp_path / "none", tmp_path / "new")
    assert "expected a trained run" in mistake(capsys, tmp_path, tmp_path / "new")
    (tmp_path / "text.pt").write_text("to be\n")
    assert "another kind" in mistake(capsys, tmp_path / "text.pt", tmp_path / "new")
    checkpoint().save(tmp_path / "last.pt")
    assert "cannot write" in mistake(capsys, tmp_path / "last.pt", tmp_path / "text.pt" / "new")
    assert sorted(os.listdir(tmp_path)) == ["last.pt", "text.pt"]


def weights_file(header: object, content: bytes = b"") -> bytes:
    written = json.dumps(header).encode()
    return struct.pack("<Q", len(written)) + written + content


def one(dtype: str, shape: list[int], size: int) -> dict[str, object]:
    return {"output.weight": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "header too small"),
        (struct.pack("<Q", 2**62) + b"{}", "too large"),
        (struct.pack("<Q", 50 * 10**6) + b"{" + b" " * 50 * 10**6, "too large"),
        (weights_file([]), "invalid"),
        (weights_file({}), "weights"),
        (weights_file(one("F32", [25 * 10**9], 10**11)), "not fully covered"),
        (weights_file(one("F32", [25 * 10**9], 12), bytes(12)), "invalid"),
        (weights_file(one("F32", [8, 16], 512), bytes(512)), "layers"),
        (weights_file(one("F4", [24], 12), bytes(12)), ""),
    ],
)
def test_weights_that_were_not_exported_are_refused(
    folder: Path, content: bytes, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / WEIGHTS).write_bytes(content)
    assert reason in mistake(capsys, folder, folder.parent / "last.pt")


def test_weights_that_are_not_those_of_the_model_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = safetensors.torch.load_file(folder / WEIGHTS)
    name, weight = next(iter(weights.items()))
    spoilt = weight.clone()
    spoilt[0, 0] = float("nan")
    wrongs: list[dict[str, Any]] = [
        *({name: weight.to(dtype)} for dtype in (torch.float64, torch.bfloat16, torch.int8, torch.bool)),
        *({name: other} for other in (weight[:1].clone(), spoilt, None)),
        {"more": weight.clone()},
    ]
    for wrong in wrongs:
        given = {key: value for key, value in {**weights, **wrong}.items() if value is not None}
        (folder / WEIGHTS).write_bytes(safetensors.torch.save(given))
        mistake(capsys, folder, folder.parent / "last.pt")


WRONG: dict[str, list[Any]] = {
    "format": [None, FORMAT - 1, FORMAT + 1, "4"],
    "vocabulary": [None, "", "ba", "ab", 3],
    "training_lines": ["x", [1.5], [True], [2**63], {}, 3],
    "state": [None, [], {"step": -1}, {"step": "x"}, {"more": 1}],
    "model": [None, *({name: 10**9} for name in ("layers", "width", "context")), {"attention": ["triple"]}],
    "weights": [{}],
    "\x1b[2J": [1],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in WRONG for value in WRONG[name]])
def test_a_description_that_was_not_exported_is_refused(
    folder: Path, name: str, value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    content = described(folder)
    content[name] = content[name] | value if name == "model" and value else value
    (folder / DESCRIPTION).write_text(json.dumps(content))
    said = mistake(capsys, folder, folder.parent / "last.pt")
    assert ("newer version" in said) == (value == FORMAT + 1)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": NaN}', "\xff", "[" * 10**5])
def test_what_is_no_json_object_is_refused(folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / DESCRIPTION).write_text(text, "latin-1")
    mistake(capsys, folder, folder.parent / "last.pt")


def test_half_an_export_and_a_pipe_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / WEIGHTS).unlink()
    assert f"cannot read {folder / WEIGHTS}: No such file" in mistake(capsys, folder, folder.parent / "last.pt")
    os.mkfifo(folder / WEIGHTS)
    assert "no file, but a folder or a device" in mistake(capsys, folder, folder.parent / "last.pt")


def test_an_imported_checkpoint_writes_what_the_original_writes(tmp_path: Path) -> None:
    checkpoint(training_lines=None).save(tmp_path / "last.pt")
    for source, target in (("last.pt", "exported"), ("exported", "imported.pt")):
        command = [
            sys.executable,
            "-W",
            "error",
            "-m",
            "training.export",
            f"{tmp_path / source}",
            f"{tmp_path / target}",
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{tmp_path / target}: {tmp_path / source}, trained for 40 steps\n"
    texts = [run("sample", f"checkpoint={name}", "length=20", folder=tmp_path) for name in ("last.pt", "imported.pt")]
    assert len(texts[0].stdout) == 21, texts[0].stderr
    assert texts[0].stdout == texts[1].stdout
