"""Checkpoints of runs: what they hold, how they are found, and how another run begins with one."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from data.vocabulary import Vocabulary
from errors import UserError
from model.decoder import Decoder
from tests.conftest import ROOT
from tests.training.helpers import CHARACTERS, decoder, train
from training import loop
from training.checkpoint import Checkpoint, load_checkpoint
from training.finish import load_best
from training.run import transfer
from training.run_folder import BEST, LAST, LAST_COMMIT_FOR_OLD, OLD_BEST, OLD_LAST, find_checkpoint
from training.state import TrainingState


def test_a_checkpoint_gives_back_the_decoder_and_all_that_training_needs(tmp_path: Path) -> None:
    model, outcome = train(tmp_path, decoder(attention=["single", "multi"], dropout=0.1))
    checkpoint = load_checkpoint(tmp_path / "checkpoints" / LAST)
    ids = torch.arange(8)[None]
    assert torch.equal(checkpoint.decoder()(ids), model.eval()(ids))
    assert checkpoint.model == model.config
    assert (checkpoint.vocabulary, checkpoint.step, checkpoint.state.characters) == (CHARACTERS, 40, outcome.characters)
    assert checkpoint.state.best_validation_loss == outcome.best_validation_loss
    for name, _ in model.named_parameters():
        assert any(key.endswith(f".{name}") for key in checkpoint.optimizer_state)


def test_reading_a_checkpoint_does_not_import_torchs_compiler(tmp_path: Path) -> None:
    """Which takes as long as importing torch."""
    train(tmp_path, steps=1)
    read = "from training.checkpoint import load_checkpoint as load; from pathlib import Path; import sys"
    code = f"{read}; load(Path(sys.argv[1])).decoder(); sys.exit('torch._dynamo' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "checkpoints" / LAST)], cwd=ROOT, check=True)


def test_the_best_is_kept_when_later_ones_are_worse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([3.0, 1.0, 2.0, 1.0])
    monkeypatch.setattr(loop, "evaluate", lambda *_: next(losses))
    _, outcome = train(tmp_path, steps=40, evaluate_every=10)
    best, last = (load_checkpoint(tmp_path / "checkpoints" / name) for name in (BEST, LAST))
    assert (outcome.best_validation_loss, outcome.final_validation_loss) == (1.0, 1.0)
    assert (best.step, best.state.evaluations_since_best) == (20, 0)
    assert (last.step, last.state.evaluations_since_best) == (40, 2)
    assert best.state.best_validation_loss == last.state.best_validation_loss == 1.0


def test_a_best_checkpoint_that_cannot_be_read_is_replaced_by_the_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, steps=4, evaluate_every=2)
    folder = tmp_path / "checkpoints"
    capsys.readouterr()
    (folder / BEST).write_bytes(b"damaged")
    assert load_best(folder).step == 4
    (folder / BEST).unlink()
    assert load_best(folder).step == 4
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.endswith("; the last checkpoint takes its place") for line in lines)


def test_the_lines_in_the_docs_read_a_checkpoint(tmp_path: Path) -> None:
    model, _ = train(tmp_path / "runs" / "a", steps=2)
    (code,) = re.findall(r"((?: {4}.*\n)+)", (ROOT / "docs" / "runs.md").read_text().split("<!-- read -->")[1])
    file = tmp_path / "runs" / "a" / "checkpoints" / BEST
    names: dict[str, Any] = {}
    exec(re.sub("(?m)^ {4}", "", code).replace("best.safetensors", str(file)), names)
    assert np.array_equal(names["weights"]["embedding.weight"], model.embedding.weight.detach().numpy())
    assert names["content"]["vocabulary"] == CHARACTERS


def test_a_save_that_fails_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path)
    file = tmp_path / "checkpoints" / LAST
    before = file.read_bytes()
    monkeypatch.setattr(os, "fsync", Mock(side_effect=OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        load_checkpoint(file).save(file)
    assert file.read_bytes() == before
    assert {other.name for other in file.parent.iterdir()} == {LAST, BEST}


def test_the_newest_runs_best_is_found_by_default(tmp_path: Path) -> None:
    for age, run in enumerate(["b", "a", "sweep/0"]):
        file = tmp_path / "runs" / run / "checkpoints" / BEST
        file.parent.mkdir(parents=True)
        file.touch()
        os.utime(file, (1e9 - age, 1e9 - age))
    newest = tmp_path / "runs" / "b" / "checkpoints" / BEST
    assert find_checkpoint(None, tmp_path / "runs") == find_checkpoint("best", tmp_path / "runs") == newest
    assert find_checkpoint(str(tmp_path / "runs")) == newest
    newest.with_name(LAST).touch()
    assert find_checkpoint("last", tmp_path / "runs") == newest.with_name(LAST)
    assert find_checkpoint(str(tmp_path / "runs" / "a")) == tmp_path / "runs" / "a" / "checkpoints" / BEST
    assert find_checkpoint(str(file)) == file


def test_where_all_runs_are_of_an_older_format_that_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a" / "checkpoints"
    folder.mkdir(parents=True)
    for name in (OLD_BEST, OLD_LAST):
        torch.save({"format": 5}, folder / name)
    with pytest.raises(UserError, match=rf"older format \(\.pt\), which commit {LAST_COMMIT_FOR_OLD} was the last"):
        load_checkpoint(find_checkpoint("best", tmp_path / "runs"))
    (folder / BEST).touch()
    assert find_checkpoint("best", tmp_path / "runs") == folder / BEST


def test_a_checkpoint_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a trained run below .*, got none; first run: python train\.py"):
        find_checkpoint(None, tmp_path)
    with pytest.raises(UserError, match=f"expected a trained run below {tmp_path}/, got none"):
        find_checkpoint(str(tmp_path))
    for missing in (tmp_path / "none", "~nobody-of-this-name", "x" * 400):
        with pytest.raises(UserError, match="expected a checkpoint, a run's folder, best or last, got"):
            find_checkpoint(str(missing))


def checkpoint(model: Decoder, vocabulary: str) -> Checkpoint:
    training: dict[str, Any] = {"state": TrainingState(), "corpus_sha256": "0" * 64}
    return Checkpoint(model=model.config, vocabulary=vocabulary, weights=model.state_dict(), **training)


def test_text_of_known_characters_is_read_as_before() -> None:
    old, new = "abcd", "bd"
    start, model = decoder(0, old).eval(), decoder(1, new).eval()
    said = transfer(checkpoint(start, old), model, new)
    assert said == "2 characters mapped, 0 added, 2 ('ac') dropped"
    ids = torch.tensor([[0, 1, 1, 0]])  # bddb
    logits = start(torch.tensor([[1, 3, 3, 1]]))
    torch.testing.assert_close(model(ids), logits[..., [1, 3]])  # the product is of another width


def test_new_characters_keep_their_fresh_weights_and_many_are_named_in_part() -> None:
    old, new = "bc", "abc"
    start, model, fresh = decoder(0, old), decoder(1, new), decoder(1, new)
    assert transfer(checkpoint(start, old), model, new) == "2 characters mapped, 1 ('a') added, 0 dropped"
    for name in ("embedding", "output"):
        found, kept, added = (getattr(each, name).weight for each in (model, start, fresh))
        assert torch.equal(found[1:], kept)
        assert torch.equal(found[0], added[0])
    assert not torch.equal(start.embedding.weight[0], fresh.embedding.weight[1])
    many = "".join(map(chr, range(100, 200)))
    said = transfer(checkpoint(start, old), decoder(1, many), many)
    assert said == "0 characters mapped, 100 ('defghijklmnopqrstuvw'…) added, 2 ('bc') dropped"


def test_a_byte_is_not_mapped_to_the_character_of_its_number() -> None:
    given = checkpoint(decoder(0, "aÐ"), "aÐ")
    said = transfer(given, decoder(1, "aÐ"), Vocabulary("aÐ", is_bytes=True).tokens)
    assert said == r"1 characters mapped, 1 ('\xd0') added, 1 ('Ð') dropped"
    given.run = {"config": {"data": {"encoding": "bytes"}}}
    assert transfer(given, decoder(1, "aÐ"), "aÐ") == r"1 characters mapped, 1 ('Ð') added, 1 ('\xd0') dropped"


def test_a_longer_context_takes_the_weights_too() -> None:
    start, model = decoder(0, "ab").eval(), decoder(1, "ab", context=32).eval()
    transfer(checkpoint(start, "ab"), model, "ab")
    ids = torch.tensor([[0, 1, 1, 0, 1]])
    torch.testing.assert_close(model(ids), start(ids), rtol=0, atol=0)
