import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import race
from bench.peers import commit
from bench.race import STYLES, TARGETS, Findings, main, plot
from bench.racers import NANOGPT, PRESET, SPRINT, Race, Run
from bench.stopwatch import RunFailedError
from tests.bench.helpers import TEXT, made_up

ROOT = Path(__file__).parents[2]

FAKE_MODEL = """
from dataclasses import dataclass
import torch

@dataclass
class GPTConfig:
    block_size: int
    vocab_size: int

class GPT(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        print("a fake")
        self.config = config
        self.table = torch.nn.Embedding(config.vocab_size, config.vocab_size)

    def forward(self, inputs, targets=None):
        assert inputs.shape[1] <= self.config.block_size
        return self.table(inputs), None
"""

FAKE_TRAIN = """
import os
import pickle
import sys
import numpy as np
import torch
from model import GPT, GPTConfig

out_dir = "elsewhere"
exec(open("configurator.py").read())
torch.manual_seed(1337)
with open("data/shakespeare_char/meta.pkl", "rb") as stream:
    model_args = dict(block_size=int(flags["block_size"]), vocab_size=pickle.load(stream)["vocab_size"])
model = GPT(GPTConfig(**model_args))
ids = torch.from_numpy(np.fromfile("data/shakespeare_char/train.bin", np.uint16).astype(np.int64))
os.makedirs(out_dir)
for step in range(int(flags["max_iters"]) + 1):
    if step % int(flags["eval_interval"]) == 0 and step > 0:
        assert flags["always_save_checkpoint"] == "True"
        content = {"model": {"_orig_mod." + name: value for name, value in model.state_dict().items()}}
        content |= {"optimizer": {}, "model_args": model_args, "iter_num": step}
        torch.save(content, os.path.join(out_dir, "ckpt.pt"))
    logits, _ = model(ids[None, :model_args["block_size"]])
print("a line that nobody needs to see")
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a clone of nanoGPT, with a model of its own."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "config").mkdir()
    (folder / "config" / "train_shakespeare_char.py").write_text("out_dir = 'out'\n")
    (folder / "configurator.py").write_text(
        "exec(open(sys.argv[1]).read())\nflags = dict(flag[2:].split('=') for flag in sys.argv[2:])\n"
    )
    (folder / "model.py").write_text(FAKE_MODEL)
    (folder / "train.py").write_text(FAKE_TRAIN)
    return folder


@pytest.fixture(scope="module")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "a text.txt"
    file.write_text(TEXT, encoding="utf-8")
    return file


def test_a_quick_run_times_every_contestant(clone: Path, text_file: Path, tmp_path: Path) -> None:
    command = ["-m", "bench.race", "--quick", "--seeds", "7", "8", "--target", "100"]
    command += ["--nanogpt", str(clone), "--text", str(text_file), "--output", str(tmp_path / "kept")]
    done = subprocess.run(
        [sys.executable, "-W", "error", *command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    markdown = (tmp_path / "kept" / "race_cpu.md").read_text(encoding="utf-8")
    assert done.stdout.startswith(markdown)
    assert "figures mean nothing" in markdown
    found = json.loads((tmp_path / "kept" / "race_cpu.json").read_text(encoding="utf-8"))
    assert [(run["contestant"], run["seed"]) for run in found["runs"]] == [(SPRINT, 7), (NANOGPT, 7), (PRESET, 7)]
    for run in found["runs"]:
        assert [seen["step"] for seen in run["evaluations"]] == [2, 4]
        assert all(0 < seen["loss"] < 100 for seen in run["evaluations"])
        moments = [0, *(seen["seconds"] for seen in run["evaluations"]), run["seconds"]]
        assert moments == sorted(moments)
    assert [row["reached"] for row in found["medians"]] == ["1 of 1"] * 3
    assert found["trial"]
    assert (found["commit"], found["nanogpt_commit"]) == (commit(ROOT), "not a git checkout")
    assert [(row["time of"], row["seed"]) for row in found["pairs"]] == [
        (contestant, seed) for contestant in (SPRINT, PRESET) for seed in ("7", "median")
    ]
    assert {"machine", "target", "text_sha256", "import_torch_seconds", "pairs", "within", "protocol"} <= found.keys()
    for folder in (str(ROOT), str(clone), str(text_file.parent)):
        assert folder not in json.dumps(found) + markdown


@pytest.fixture
def arguments(clone: Path, text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of a command whose runs are made up."""

    def run(_: Race, contestant: str, seed: int) -> Run:
        return made_up(contestant, (10 + seed, 2.0), (20 + seed, 1.8), seed=seed)

    monkeypatch.setattr(Race, "run", run)
    monkeypatch.setattr(race, "import_seconds", lambda _: 1.0)
    return ["--nanogpt", str(clone), "--text", str(text_file), "--output", str(tmp_path / "kept")]


def test_seeds_take_turns(arguments: list[str], tmp_path: Path) -> None:
    main([*arguments, "--seeds", "4", "2"])
    found = json.loads((tmp_path / "kept" / "race_cpu.json").read_text(encoding="utf-8"))
    turns = [(run["contestant"], run["seed"]) for run in found["runs"]]
    assert turns == [(contestant, seed) for seed in (4, 2) for contestant in (SPRINT, NANOGPT, PRESET)]
    assert not found["trial"]
    assert found["target"] == TARGETS["cpu"]


def test_the_report_says_what_was_not_reached(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main([*arguments, "--target", "1.7"])
    said = capsys.readouterr().out
    assert "not reached" in said
    assert "did not reach the target: 3, counted with their whole time" in said
    assert all(f"command of {contestant}" in said for contestant in STYLES)


def test_times_in_the_plot_are_plain_numbers() -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra: pip install --editable '.[bench]'")
    runs = [made_up(name, (9, 2.5), (64, 1.8)) for name in (SPRINT, NANOGPT, PRESET)]
    where: dict[str, str | int] = {"hardware": "abacus", "threads": 1, "torch": "2", "date": "2026-01-31"}
    (axes,) = plot(Findings(where, "cpu", 1.9, "", "", "", "", 1.0, runs, [], [], [], [], trial=False)).axes
    labels = [label.get_text() for label in axes.get_xticklabels(which="both")]
    assert {"10", "20", "30", "50"} <= set(labels)
    assert not any("$" in label for label in labels)


def test_a_plot_is_drawn(arguments: list[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra: pip install --editable '.[bench]'")
    main(arguments)
    assert (tmp_path / "kept" / "race_cpu.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_it_says_what_to_install_and_writes_the_rest(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    main(arguments)
    assert ".[bench]" in capsys.readouterr().out
    assert sorted(file.name for file in (tmp_path / "kept").iterdir()) == ["race_cpu.json", "race_cpu.md"]


def test_a_run_that_fails_ends_all_with_its_last_lines(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Run:
        raise RunFailedError("expected a training run\nits last line")

    monkeypatch.setattr(Race, "run", fail)
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 1
    assert capsys.readouterr().err.endswith("its last line\n")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--nanogpt", "nowhere"], "expected a clone of nanoGPT, got nowhere, which has no train.py"),
        (["--text", "nowhere.txt"], "expected a file, got nowhere.txt"),
        (["--text", "."], "expected a file, got ."),
        (["--seeds", "1", "1"], "expected each once, got 1 1"),
        (["--output", __file__], "--output: expected a folder"),
    ],
)
def test_a_mistake_is_said_in_one_line(
    arguments: list[str], changes: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*arguments, *changes])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that is not there")
def test_a_missing_gpu_is_said_in_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*arguments, "--device", "cuda"])
    assert "expected cpu, got cuda" in capsys.readouterr().err
