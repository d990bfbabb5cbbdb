import os
from pathlib import Path

import pytest
import torch

from errors import UserError
from tests.training.helpers import CHARACTERS, decoder, train
from training import loop
from training.checkpoint import FORMAT, find_checkpoint, load_checkpoint


def test_a_checkpoint_gives_back_the_decoder_and_all_that_training_needs(tmp_path: Path) -> None:
    model, outcome = train(tmp_path, decoder(attention=["single", "multi"], dropout=0.1))
    checkpoint = load_checkpoint(tmp_path / "checkpoints" / "last.safetensors")
    ids = torch.arange(8)[None]
    assert torch.equal(checkpoint.decoder()(ids), model.eval()(ids))
    assert checkpoint.model == model.config
    assert (checkpoint.vocabulary, checkpoint.step, checkpoint.state.characters) == (CHARACTERS, 40, outcome.characters)
    assert checkpoint.state.best_validation_loss == outcome.best_validation_loss
    for name, _ in model.named_parameters():
        assert any(key.endswith(f".{name}") for key in checkpoint.optimizer_state)


def test_the_best_is_kept_when_later_ones_are_worse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([3.0, 1.0, 2.0, 1.0])
    monkeypatch.setattr(loop, "evaluate", lambda *_: next(losses))
    _, outcome = train(tmp_path, steps=40, evaluate_every=10)
    best, last = (load_checkpoint(tmp_path / "checkpoints" / name) for name in ("best.safetensors", "last.safetensors"))
    assert (outcome.best_validation_loss, outcome.final_validation_loss) == (1.0, 1.0)
    assert (best.step, best.state.evaluations_since_best) == (20, 0)
    assert (last.step, last.state.evaluations_since_best) == (40, 2)
    assert best.state.best_validation_loss == last.state.best_validation_loss == 1.0


def test_a_file_that_is_no_checkpoint_is_a_clear_error(tmp_path: Path) -> None:
    train(tmp_path)
    whole = (tmp_path / "checkpoints" / "last.safetensors").read_bytes()
    torch.save(print, tmp_path / "code.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"format": FORMAT + 1}, tmp_path / "newer.pt")
    torch.save({"format": FORMAT, "model": {}}, tmp_path / "partial.pt")
    torch.save({"format": FORMAT, "model": {"attention": ["triple"]}}, tmp_path / "kind.pt")
    (tmp_path / "text.pt").write_text("to be")
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    for file in tmp_path.glob("*.pt"):
        with pytest.raises(UserError, match=f"checkpoint: .*{file.name}") as error:
            load_checkpoint(file)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="cannot read"):
        load_checkpoint(tmp_path / "missing.pt")


def test_a_save_that_fails_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path)
    file = tmp_path / "checkpoints" / "last.safetensors"
    before = file.read_bytes()

    def no_space(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="no space left"):
        load_checkpoint(file).save(file)
    assert file.read_bytes() == before
    assert {other.name for other in file.parent.iterdir()} == {"last.safetensors", "best.safetensors"}


def test_the_newest_runs_best_is_found_by_default(tmp_path: Path) -> None:
    for age, run in enumerate(["b", "a", "sweep/0"]):
        file = tmp_path / "runs" / run / "checkpoints" / "best.safetensors"
        file.parent.mkdir(parents=True)
        file.touch()
        os.utime(file, (1e9 - age, 1e9 - age))
    newest = tmp_path / "runs" / "b" / "checkpoints" / "best.safetensors"
    assert find_checkpoint(None, tmp_path / "runs") == find_checkpoint("best", tmp_path / "runs") == newest
    assert find_checkpoint(str(tmp_path / "runs")) == newest
    newest.with_name("last.safetensors").touch()
    assert find_checkpoint("last", tmp_path / "runs") == newest.with_name("last.safetensors")
    assert find_checkpoint(str(tmp_path / "runs" / "a")) == tmp_path / "runs" / "a" / "checkpoints" / "best.safetensors"
    assert find_checkpoint(str(file)) == file


def test_a_checkpoint_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a trained run below .*, got none; first run: python train\.py"):
        find_checkpoint(None, tmp_path)
    with pytest.raises(UserError, match=f"expected a trained run below {tmp_path}/, got none"):
        find_checkpoint(str(tmp_path))
    for missing in (tmp_path / "none.pt", "~nobody-of-this-name", "x" * 400):
        with pytest.raises(UserError, match="expected a checkpoint, a run's folder, best or last, got"):
            find_checkpoint(str(missing))
