import json
import math
import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from board.board import ATTENTION_TAG
from data.config import DataConfig, Source
from tests.commands.helpers import SMALL, TEXT, TINY, call, hparams_row
from tests.data.helpers import load_text, split_text
from training.checkpoint import load_checkpoint
from training.config import Device, RuntimeConfig
from training.device import choose_runtime
from training.evaluate import evaluate
from training.run_folder import BEST, LAST


def test_a_run_leaves_all_that_was_promised(home: Path, trained: Path) -> None:
    files = {str(file.relative_to(trained)) for file in trained.rglob("*") if file.is_file()}
    events = {file for file in files if "tfevents" in file}
    assert sorted(name.endswith(".hparams") for name in events) == [False, True]
    assert files - events == {
        ".lock",
        "summary.json",
        f"checkpoints/{BEST}",
        f"checkpoints/{LAST}",
        *(f".hydra/{name}.yaml" for name in ("config", "hydra", "overrides")),
    }
    assert trained.parent == home / "runs" / "laptop"


def test_the_summary_holds_losses_speed_settings_and_the_machine(trained: Path) -> None:
    summary = json.loads((trained / "summary.json").read_text())
    assert set(summary) == {
        *("parameters", "steps", "characters", "seconds", "characters_per_second", "skipped_steps"),
        *("best_validation_loss", "final_validation_loss", "bits_per_character", "settings", "seed", "corpus_sha256"),
        "baselines",
        *("device", "hardware", "threads", "precision", "compile", "compiled", "torch", "python", "date", "processes"),
    }
    assert (summary["steps"], summary["characters"], summary["seed"]) == (60, 60 * 16 * 32, 0)
    assert summary["bits_per_character"] == pytest.approx(summary["best_validation_loss"] / math.log(2))


def test_a_run_learns_more_than_how_often_characters_occur(home: Path, trained: Path) -> None:
    event = EventAccumulator(str(trained), size_guidance={"images": 0}).Reload()
    first, last = (event.Scalars("loss/validation")[i].value for i in (0, -1))
    assert last < first
    losses = json.loads((trained / "summary.json").read_text())["baselines"]["losses"]
    assert last < losses["unigram"] - 0.3
    assert f"to beat  {losses['uniform']:.4f} nats/char guessing evenly, " in (home / "train.out").read_text()
    for name, loss in losses.items():
        assert [(each.step, each.value) for each in event.Scalars(f"baseline/{name}")] == [
            *((step, pytest.approx(loss)) for step in (30, 60))
        ]
    assert [image.step for image in event.Images(ATTENTION_TAG)] == [0, 30, 60]


def test_a_run_ends_with_a_sample_and_two_commands_to_go_on_with(home: Path, trained: Path) -> None:
    lines = (home / "train.out").read_text().splitlines()
    assert re.fullmatch(r"look inside:  (\S+/)?tensorboard --logdir runs", lines[-2])
    assert re.fullmatch(rf"write more:   (\S+/)?python sample\.py checkpoint={trained.relative_to(home)}", lines[-1])
    assert sum(map(len, lines)) > 400 + 200
    assert any(line.startswith("runs on  cpu (as asked; ") for line in lines)


def test_free_text_is_taken_as_it_is_typed(tmp_path: Path) -> None:
    (tmp_path / "my text, (1).txt").write_text('what\'s "${this}"? ' * 100)
    done = call(*TINY, "data.path=my text, (1).txt", 'board.probe="${this}"', folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (run_folder,) = (file.parent for file in tmp_path.glob("runs/*/*/summary.json"))
    event = EventAccumulator(str(run_folder)).Reload()
    assert event.Tensors("attention/probe_1/text_summary")[0].tensor_proto.string_val == [
        b'<pre><code>"${this}"</code></pre>'
    ]
    settings = hparams_row(run_folder)
    assert settings["board.probe"].string_value == '"${this}"'
    assert settings["data.path"].string_value == "my text, (1).txt"


def test_the_seed_decides_a_run(tmp_path: Path) -> None:
    losses: list[float] = []
    for seed in (1, 1, 2):
        where = str(len(losses))
        done = call(*TINY, "model.dropout=0.1", f"seed={seed}", f"hydra.run.dir={where}", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        losses.append(json.loads((tmp_path / where / "summary.json").read_text())["final_validation_loss"])
    assert losses[0] == losses[1] != losses[2]


MISTAKES = {
    "unknown key": (["model.widht=8"], "model.widht: there is no such name; did you mean model.width?"),
    "added key": (["+model.depth=8"], "there is no such name: .*depth"),
    "without its group": (["steps=8"], "steps: there is no such name; did you mean training.steps.$"),
    "another command's": (["temperature=1"], "temperature: there is no such name; all names: python train.py --cfg"),
    "wrong type": (["model.width=wide"], "model.width: Value 'wide' of type 'str' could not be converted to Integer"),
    "no name": (["quick"], "expected name=value, got 'quick'"),
    "not a value": (["model.attention=[single"], r"expected name=value, got 'model.attention=\[single' \("),
    "a list for one": (["model.heads=1,2"], "Ambiguous value for argument 'model.heads=1,2'.*--multirun"),
    "unknown preset": (["experiment=phone"], "Could not find 'experiment/phone' Available options .* laptop"),
    "device": (["runtime.device=tpu"], "runtime.device: Invalid value 'tpu', expected one of"),
    "several values": (["model.heads=3", "training.steps=0", "seed=-1"], "seed.*heads.*steps"),
    "context": (["model.context=100000"], "expected at least model.context . 1 = 100001"),
    "no text": (["data.path=missing.txt"], "data.path: expected a file.*got 'missing.txt'"),
    "binary": (["data.path=binary"], "binary: expected utf8 text, got binary data"),
    "probe": (["board.probe=snow ☃"], r"board.probe: expected characters .*U\+2603. at column 6"),
    "long probe": ([f"board.probe={'a' * 257}"], "board.probe: expected at most .*=256.* got 257"),
    "sweep over an unknown key": (["-m", "model.widht=1,2"], "model.widht: there is no such name"),
    "sweep with bad values": (["-m", "model.heads=1,2,3", "seed=0,-1"], "heads: expected a divisor .* got 3.*; seed: "),
    "preset that sweeps": (["experiment=position_study", "model.heads=3"], "model.heads: expected a divisor .* got 3"),
    "sweep of a resumed run": (
        ["-m", "resume=auto", "seed=1,2"],
        "resume: .* a sweep with resume=auto hydra.sweep.dir=FOLDER",
    ),
    "sweep in a run": (["-m", "resume=run", "hydra.sweep.dir=x"], "resume: .*, got a sweep with resume=run"),
    "quote in a name": (["name=l'été"], """to have it taken as one text: 'name="l'"'"'été"'$"""),
    "sweep of standard input": (["-m", "data.path=-", "seed=1,2"], "data.path: .* got -; type data.path=FILE$"),
    "no such run": (["resume=nowhere"], "resume: expected auto or a run's folder with a checkpoint.*, got nowhere$"),
    "two folders": (["resume=run", "hydra.run.dir=x"], "resume: .* there or in hydra.run.dir, got both"),
    "no folder": (["hydra.run.dir=binary/run"], "expected files that can be read and written, got: Not a directory"),
    "too large": (["model.width=1000000", "model.layers=100"], "model: expected one that fits in .* of cpu, got 1,199"),
    "no checkpoint": (["init_from=nowhere"], "checkpoint: expected a checkpoint, a run's folder, best or last"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "binary").write_bytes(b"\0\1")
    text = [] if any(argument.startswith("data.path=") for argument in arguments) else [f"data.path={TEXT}"]
    done = call("runtime.device=cpu", *text, *arguments, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert re.search(f"^train.py: .*{message}", done.stderr), done.stderr
    assert "folder " not in done.stdout
    assert [file.name for file in tmp_path.iterdir()] == ["binary"]


def test_a_folder_that_holds_a_run_is_not_trained_into_again(home: Path, trained: Path) -> None:
    before = {file: file.read_bytes() for file in trained.rglob("*") if file.is_file()}
    done = call(*SMALL, f"hydra.run.dir={trained}", folder=home)
    assert done.returncode == 2
    assert "hydra.run.dir: expected a folder without a run in it" in done.stderr
    assert {file: file.read_bytes() for file in trained.rglob("*") if file.is_file()} == before


def test_the_test_split_is_scored_at_the_end_by_the_best_checkpoint(tmp_path: Path) -> None:
    text = load_text(DataConfig(source=Source.python_stdlib, path=TEXT))
    settings = [*TINY, "data.path=-", "data.encoding=bytes", "data.test_fraction=0.2", "training.evaluate_every=1"]
    settings.append("training.test_stride=4")
    done = call(*settings, "hydra.run.dir=run", folder=tmp_path, stdin=text)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert f"its loss on the test split {summary['test_loss']:.4f} nats/byte" in done.stdout
    assert summary["test_bits_per_byte"] == pytest.approx(summary["test_loss"] / math.log(2))
    data = DataConfig(source=Source.python_stdlib, encoding="bytes", test_fraction=0.2)
    test = split_text(text, data, context=16).test
    assert test is not None
    best = load_checkpoint(tmp_path / "run" / "checkpoints" / BEST).decoder()
    runtime = choose_runtime(RuntimeConfig(device=Device.cpu))
    assert summary["test_loss"] == pytest.approx(evaluate(best, test, runtime), rel=1e-5)
    assert summary["strided_test_loss"] == pytest.approx(evaluate(best, test, runtime, stride=4), rel=1e-5)
    assert f"windows 4 apart {summary['strided_test_loss']:.4f} nats/byte" in done.stdout


def test_a_run_without_validation_says_so_and_can_be_sampled_from(tmp_path: Path) -> None:
    done = call(*TINY, "data.validation_fraction=0", "data.test_fraction=0.1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no validation split: no validation loss, no early stopping; the last checkpoint is the best" in done.stdout
    assert re.search(r"^no validation split; \d+ s\nits loss on the test split ", done.stdout, re.M)
    (file,) = tmp_path.glob("runs/*/*/summary.json")
    summary = json.loads(file.read_text())
    losses = [summary[f"{name}_validation_loss"] for name in ("best", "final")]
    assert [*losses, summary["bits_per_character"]] == [None] * 3
    sampled = call("length=5", command="sample", folder=tmp_path)
    assert (sampled.returncode, len(sampled.stdout)) == (0, 6), sampled.stderr


def test_a_validation_split_of_another_kind_is_said_once_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a b c\n" * 400 + "xyz\n" * 50)
    remark = "         150 of 260 validation characters never occur in training; data.split=blocks"
    found = [
        call(*TINY, "data.path=text", *more, folder=tmp_path).stdout
        for more in ([], ["data.split=blocks", "hydra.run.dir=blocks"])
    ]
    assert [text.count(remark) for text in found] == [1, 0]
    assert "text     2,600 characters, 8 distinct; in blocks of 260 characters, 26 of each for validation" in found[1]


def test_the_summary_is_there_before_what_can_fail_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr("training.finish.load_best", fail)
    assert call(*TINY, "hydra.run.dir=run", folder=tmp_path).returncode == 1
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 2
