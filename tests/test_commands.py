"""Both commands as a user runs them, on real text."""

import json
import math
import re
import subprocess
import sys
import sysconfig
from collections import Counter
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

import train
from conf.schema import CONF, register
from data.sources import read_path
from training.board import ATTENTION_TAG

ROOT = Path(__file__).parent.parent
TEXT = f"{sysconfig.get_path('stdlib')}/json/*.py"  # real text that is on every machine
SMALL = ["runtime.device=cpu", "model.layers=2", "model.width=32", "model.context=32", f"data.path={TEXT}"]
SHORT = [
    *SMALL,
    "training.steps=60",
    "training.batch_size=16",
    "training.evaluate_every=30",
    "training.learning_rate=1e-2",
]


def run(command: str, *arguments: str, folder: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", ROOT / f"{command}.py", *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one trained run in it."""
    folder = tmp_path_factory.mktemp("home")
    done = run("train", *SHORT, folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    (folder / "train.out").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def trained(home: Path) -> Path:
    (summary,) = home.glob("runs/*/*/summary.json")
    return summary.parent


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_run_leaves_all_that_was_promised(home: Path, trained: Path) -> None:
    files = {str(file.relative_to(trained)) for file in trained.rglob("*") if file.is_file()}
    events = {file for file in files if "tfevents" in file}
    assert len(events) == 1
    assert files - events == {
        "summary.json",
        "checkpoints/best.pt",
        "checkpoints/last.pt",
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
        "device",
        "precision",
        "torch",
        "corpus_sha256",
        "seed",
    }
    assert (summary["steps"], summary["characters"], summary["seed"]) == (60, 60 * 16 * 32, 0)
    assert summary["bits_per_character"] == pytest.approx(summary["best_validation_loss"] / math.log(2))


def test_a_run_learns_more_than_how_often_characters_occur(trained: Path) -> None:
    text = read_path(TEXT)
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


def test_sampling_takes_the_newest_run_and_repeats_itself(home: Path) -> None:
    first, again = (run("sample", "length=100", folder=home) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    assert len(first.stdout) == 100 + 1
    assert run("sample", "length=100", "seed=1", folder=home).stdout != first.stdout


def test_every_way_to_give_a_prompt_gives_the_same_text(home: Path, trained: Path) -> None:
    prompt = "def dumps(obj, *, skipkeys=False):\n    return 'it\\'s'"
    (home / "prompt.txt").write_text(prompt)
    named = run("sample", f"prompt={prompt}", "length=20", f"checkpoint={trained}", folder=home)
    assert named.returncode == 0, named.stderr
    assert named.stdout.startswith(prompt)
    assert len(named.stdout) == len(prompt) + 20 + 1
    filed = run("sample", "prompt_file=prompt.txt", "length=20", folder=home)
    piped = run("sample", "prompt_file=-", "length=20", folder=home, stdin=prompt)
    assert named.stdout == filed.stdout == piped.stdout


def test_several_samples_are_told_apart(home: Path) -> None:
    done = run("sample", "count=3", "length=10", "prompt=def ", "top_k=5", "temperature=0.5", folder=home)
    assert done.returncode == 0, done.stderr
    parts = [part.split(" ---\n") for part in done.stdout.split("--- ")[1:]]
    assert [title for title, _ in parts] == ["1 of 3", "2 of 3", "3 of 3"]
    assert all(text.startswith("def ") and len(text) == 4 + 10 + 1 for _, text in parts)


def test_sampling_leaves_nothing_behind(home: Path) -> None:
    before = sorted(home.rglob("*"))
    assert run("sample", "length=5", folder=home).returncode == 0
    assert sorted(home.rglob("*")) == before


def test_a_reader_that_leaves_early_is_no_error(home: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{sys.executable}' '{ROOT}/sample.py' length=300 count=2 | head -c 0"],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1), done.stderr


def test_a_sweep_makes_a_run_of_each_and_compares_them(tmp_path: Path) -> None:
    done = run("train", "-m", "model.heads=1,2", "name=heads", *SMALL, "training.steps=2", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = sorted(file.parent for file in tmp_path.glob("runs/heads/*/*/summary.json"))
    assert [run.name for run in runs] == ["0", "1"]
    for number, directory in enumerate(runs):
        event = EventAccumulator(str(directory)).Reload()
        content = event.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        settings = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
        assert settings["model.heads"].number_value == number + 1
        assert settings["experiment"].string_value == "laptop"
        assert f"heads: {number + 1}\n" in (directory / ".hydra" / "config.yaml").read_text()


def test_a_sweep_goes_on_past_a_job_that_fails(tmp_path: Path) -> None:
    # The second job's probe is found to be unknown only when the text has been read.
    arguments = ["-m", "board.probe='def','☃'", "name=probes", *SMALL, "training.steps=2"]
    done = run("train", *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"train\.py: board\.probe: expected .*U\+2603.*\n", done.stderr), done.stderr
    assert [file.parent.name for file in tmp_path.glob("runs/probes/*/*/summary.json")] == ["0"]
    assert not list(tmp_path.glob("runs/probes/*/1"))


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
    assert event.Tensors("attention/probe/text_summary")[0].tensor_proto.string_val == [b'    "${this}"']
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


SAMPLING_MISTAKES = {
    "no run": (["checkpoint=null"], "expected a trained run below runs/, got none; first run: python train.py"),
    "no checkpoint": (["checkpoint=missing.pt"], "expected a checkpoint or a run's folder, got 'missing.pt'"),
    "not a checkpoint": (["checkpoint=binary"], "binary is not a checkpoint"),
    "unknown key": (["promt=a"], "promt: there is no such name; did you mean prompt"),
    "values": (["length=0", "count=0", "temperature=-1", "top_k=0"], "length.*count.*top_k.*temperature"),
    "two prompts": (["prompt=a", "prompt_file=b"], "prompt, prompt_file: expected one of them, got both"),
    "no prompt file": (["prompt_file=missing.txt"], "prompt_file: expected UTF-8 text in missing.txt"),
    "binary prompt file": (["prompt_file=latin"], "prompt_file: expected UTF-8 text in latin.* 0xe9"),
    "sweep": (["-m", "seed=1,2"], "expected one set of values, got a sweep"),
    "another command's": (["model.heads=2"], "model: there is no such name; did you mean checkpoint, "),
    "empty prompt": (["prompt_file=-"], "prompt_file: expected at least one character in -, got none"),
}


@pytest.mark.parametrize(("arguments", "message"), SAMPLING_MISTAKES.values(), ids=SAMPLING_MISTAKES)
def test_a_mistake_in_sampling_is_one_line_and_leaves_nothing(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "binary").write_bytes(b"\0\1")
    (tmp_path / "latin").write_bytes(b"\xe9")
    done = run("sample", *arguments, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert re.search(f"^sample.py: .*{message}", done.stderr), done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["binary", "latin"]


def test_a_prompt_beyond_the_vocabulary_is_named(home: Path) -> None:
    done = run("sample", "prompt=a☃", folder=home)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"sample\.py: prompt: expected characters .*\(U\+2603\) at position 1; it holds .*\n", done.stderr
    )


def test_a_folder_that_holds_a_run_is_not_trained_into_again(home: Path, trained: Path) -> None:
    before = snapshot(trained)
    done = run("train", *SMALL, f"hydra.run.dir={trained}", folder=home)
    assert done.returncode == 2
    assert "hydra.run.dir: expected a folder without a run in it" in done.stderr
    assert snapshot(trained) == before


@pytest.mark.parametrize("command", ["train", "sample"])
def test_help_is_a_page_for_a_newcomer(tmp_path: Path, command: str) -> None:
    done = run(command, "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"python {command}.py [name=value ...]")
    assert "Examples:" in done.stdout
    if command == "train":
        assert "data: python_stdlib, tiny_shakespeare\n" in done.stdout
        assert "experiment: laptop, shakespeare_cpu, shakespeare_gpu\n" in done.stdout
    assert len(done.stdout.splitlines()) < 50
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("model.wi", ["model.width="]), ("experiment=shakespeare_c", ["experiment=shakespeare_cpu"])],
)
def test_the_shell_completes_names_and_presets(tmp_path: Path, typed: str, completed: list[str]) -> None:
    line = f"train.py {typed}"
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", "-sc", "query=bash"],
        cwd=tmp_path,
        env={"COMP_LINE": line, "COMP_POINT": str(len(line))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == completed, done.stderr
