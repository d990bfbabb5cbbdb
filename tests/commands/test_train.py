import json
import math
import re
from collections import Counter
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

import train
from board.board import ATTENTION_TAG
from conf.schema import CONF, register
from data.config import DataConfig, Encoding, Source
from data.corpus import Corpus
from data.sources import load_text
from tests.commands.helpers import SMALL, TEXT, run
from training.checkpoint import load_checkpoint
from training.config import Device, RuntimeConfig
from training.device import choose_runtime
from training.evaluate import evaluate


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_run_leaves_all_that_was_promised(home: Path, trained: Path) -> None:
    files = {str(file.relative_to(trained)) for file in trained.rglob("*") if file.is_file()}
    events = {file for file in files if "tfevents" in file}
    assert len(events) == 1
    assert files - events == {
        ".lock",
        "summary.json",
        "checkpoints/best.safetensors",
        "checkpoints/last.safetensors",
        *(f".hydra/{name}.yaml" for name in ("config", "hydra", "overrides")),
    }
    assert trained.parent == home / "runs" / "laptop"


def test_the_summary_says_what_a_run_came_to(trained: Path) -> None:
    summary = json.loads((trained / "summary.json").read_text())
    assert set(summary) == {
        "parameters",
        "steps",
        "characters",
        "seconds",
        "characters_per_second",
        "best_validation_loss",
        "final_validation_loss",
        "bits_per_character",
        "skipped_steps",
        "settings",
        "seed",
        "corpus_sha256",
        "device",
        "hardware",
        "threads",
        "precision",
        "compile",
        "compiled",
        "torch",
        "python",
        "date",
        "processes",
    }
    assert (summary["steps"], summary["characters"], summary["seed"]) == (60, 60 * 16 * 32, 0)
    assert summary["bits_per_character"] == pytest.approx(summary["best_validation_loss"] / math.log(2))


def test_a_run_learns_more_than_how_often_characters_occur(trained: Path) -> None:
    text = load_text(DataConfig(source=Source.python_stdlib, path=TEXT))
    shares = [count / len(text) for count in Counter(text).values()]
    unigram_entropy = -sum(share * math.log(share) for share in shares)
    event = EventAccumulator(str(trained)).Reload()
    first, last = (event.Scalars("loss/validation")[i].value for i in (0, -1))
    assert last < first
    assert last < unigram_entropy - 0.3


def test_a_run_shows_attention_in_tensorboard(trained: Path) -> None:
    event = EventAccumulator(str(trained), size_guidance={"images": 0}).Reload()
    assert [image.step for image in event.Images(ATTENTION_TAG)] == [0, 30, 60]


def test_a_run_ends_with_a_sample_and_two_lines_on_how_to_go_on(home: Path, trained: Path) -> None:
    lines = (home / "train.out").read_text().splitlines()
    assert re.fullmatch(r"look inside:  (\S+/)?tensorboard --logdir runs", lines[-2])
    assert re.fullmatch(rf"write more:   (\S+/)?python sample\.py checkpoint={trained.relative_to(home)}", lines[-1])
    assert sum(map(len, lines)) > 400 + 200
    assert any(line.startswith("runs on  cpu (as asked; ") for line in lines)


def test_free_text_is_taken_as_it_is_typed(tmp_path: Path) -> None:
    (tmp_path / "my text, (1).txt").write_text('what\'s "${this}"? ' * 100)
    done = run(
        "train",
        "data.path=my text, (1).txt",
        'board.probe="${this}"',
        "runtime.device=cpu",
        "model.width=8",
        "training.steps=1",
        folder=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (run_folder,) = (file.parent for file in tmp_path.glob("runs/*/*/summary.json"))
    event = EventAccumulator(str(run_folder)).Reload()
    assert event.Tensors("attention/probe_1/text_summary")[0].tensor_proto.string_val == [b'    "${this}"']
    content = event.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    settings = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["board.probe"].string_value == '"${this}"'
    assert settings["data.path"].string_value == "my text, (1).txt"


def test_main_returns_the_best_validation_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register()
    with initialize_config_dir(CONF, version_base="1.3"):
        composed = compose("train", [*SMALL, "training.steps=2"], return_hydra_config=True)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    HydraConfig.instance().set_config(composed)
    with open_dict(composed):
        del composed["hydra"]
    result = train.main.__wrapped__(OmegaConf.to_object(composed), tmp_path)  # type: ignore[attr-defined]
    assert result == json.loads((tmp_path / "summary.json").read_text())["best_validation_loss"]


def test_the_seed_decides_a_run(tmp_path: Path) -> None:
    losses: list[float] = []
    for seed in (1, 1, 2):
        where = f"hydra.run.dir={len(losses)}"
        run("train", *SMALL, "training.steps=3", "model.dropout=0.1", f"seed={seed}", where, folder=tmp_path)
        summary = json.loads((tmp_path / str(len(losses)) / "summary.json").read_text())
        losses.append(summary["final_validation_loss"])
    assert losses[0] == losses[1] != losses[2]


MISTAKES = {
    "unknown key": (["model.widht=8"], "model.widht: there is no such name; did you mean model.width?"),
    "added key": (["+model.depth=8"], "there is no such name: .*depth"),
    "without its group": (["steps=8"], "steps: there is no such name; did you mean training.steps.$"),
    "wrong type": (["model.width=wide"], "model.width: Value 'wide' of type 'str' could not be converted to Integer"),
    "no name": (["quick"], "expected name=value, got 'quick'"),
    "unknown preset": (["experiment=phone"], "Could not find 'experiment/phone' Available options .* laptop"),
    "heads": (["model.heads=3"], "model.heads: expected a divisor of model.width=128, got 3"),
    "dropout": (["model.dropout=1"], "model.dropout: expected at least 0 and below 1, got 1.0"),
    "context": ([f"data.path={TEXT}", "model.context=100000"], "expected at least model.context . 1 = 100001"),
    "no text": (["data.path=missing.txt"], "data.path: expected a file.*got 'missing.txt'"),
    "binary": (["data.path=binary"], "binary: expected text, got binary data"),
    "device": (["runtime.device=tpu"], "runtime.device: Invalid value 'tpu', expected one of"),
    "probe": (
        [f"data.path={TEXT}", "board.probe=snow ☃"],
        r"board.probe: expected characters .*U\+2603. at position 5",
    ),
    "long probe": ([f"data.path={TEXT}", f"board.probe={'a' * 65}"], "board.probe: expected at most .*=64.* got 65"),
    "several": (
        ["model.widht=8", "model.heads=many", "training.steps=0", "model.dropout=2"],
        "widht.*heads.*dropout.*steps",
    ),
    "added and unknown": (["+model.depth=8", "model.widht=8"], "widht.*depth"),
    "not a value": (["model.attention=[single"], r"expected name=value, got 'model.attention=\[single' \("),
    "another command's": (["temperature=1"], "temperature: there is no such name; did you mean (?!temperature)"),
    "a list for one": (["model.heads=1,2"], "Ambiguous value for argument 'model.heads=1,2'.*--multirun"),
    "sweep over an unknown key": (["-m", "model.widht=1,2"], "model.widht: there is no such name"),
    "sweep with one bad job": (["-m", "model.heads=1,2,3"], "model.heads: expected a divisor .* got 3"),
    "infinite rate": (["training.learning_rate=inf"], "learning_rate: expected a number above 0, got inf"),
    "several values": (["model.heads=3", "training.steps=0", "seed=-1"], "seed.*heads.*steps"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_training_is_one_line_and_leaves_nothing(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "binary").write_bytes(b"\0\1")
    done = run("train", *arguments, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert re.search(f"^train.py: .*{message}", done.stderr), done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["binary"]


def test_a_folder_that_holds_a_run_is_not_trained_into_again(home: Path, trained: Path) -> None:
    before = snapshot(trained)
    done = run("train", *SMALL, f"hydra.run.dir={trained}", folder=home)
    assert done.returncode == 2
    assert "hydra.run.dir: expected a folder without a run in it" in done.stderr
    assert snapshot(trained) == before


def test_what_is_kept_for_the_test_is_scored_at_the_end_by_the_best_checkpoint(tmp_path: Path) -> None:
    text = load_text(DataConfig(source=Source.python_stdlib, path=TEXT))
    settings = [*SMALL, "data.path=-", "data.encoding=bytes", "data.test_fraction=0.2", "training.steps=4"]
    done = run("train", *settings, "training.evaluate_every=2", "hydra.run.dir=run", folder=tmp_path, stdin=text)
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert f"its loss on the test split {summary['test_loss']:.4f} nats/char" in done.stdout
    assert summary["test_bits_per_character"] == pytest.approx(summary["test_loss"] / math.log(2))
    data = DataConfig(source=Source.python_stdlib, encoding=Encoding.bytes, test_fraction=0.2)
    test = Corpus.of(text, data, context=32).test
    assert test is not None
    best = load_checkpoint(tmp_path / "run" / "checkpoints" / "best.safetensors").decoder()
    runtime = choose_runtime(RuntimeConfig(device=Device.cpu))
    assert summary["test_loss"] == pytest.approx(evaluate(best, test, runtime), rel=1e-5)
