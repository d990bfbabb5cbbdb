import json
import math
import pickle
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch
from torch import Tensor

from bench import race
from bench.peers import commit
from bench.race import STYLES, TARGETS, Findings, main, plot
from bench.racers import NANOGPT, PRESET, SPRINT, Evaluation, Race, Run, whole_split_loss, write_data
from bench.standings import finite, median_rows, pair_rows, paired, run_rows, within_rows
from bench.stopwatch import RunFailedError, Timing, timed
from data.batches import Windows
from data.config import DataConfig, Source
from data.corpus import Corpus
from model.decoder import Decoder
from tests.training.helpers import CPU, IDS, decoder
from training.loop import evaluate

ROOT = Path(__file__).parents[2]
TEXT = "Nothing is said here twice, or hardly.\n" * 50


def made_up(contestant: str, *seen: tuple[float, float], seed: int = 0, start_up: float = 2.0, end: float = 60) -> Run:
    """A run with evaluations of (seconds, loss)."""
    curve = [Evaluation(step, seconds, loss) for step, (seconds, loss) in enumerate(seen)]
    return Run(contestant, seed, f"command of {contestant}", start_up, end, curve)


def corpus(text: str = TEXT) -> Corpus:
    return Corpus.of(text, DataConfig(source=Source.tiny_shakespeare), context=8)


# Curves

CURVE = made_up(SPRINT, (10, 2.5), (20, 1.9), (30, 1.8), (40, 1.9))


def test_the_time_to_a_target_is_that_of_the_first_loss_at_or_under_it() -> None:
    assert CURVE.seconds_to(2.0) == 20
    assert CURVE.seconds_to(1.9) == 20
    assert CURVE.seconds_to(1.85) == 30


def test_a_target_that_is_not_reached_has_no_time() -> None:
    assert CURVE.seconds_to(1.79) is None


def test_who_does_not_arrive_takes_for_ever_but_nanogpt_no_more_than_its_whole_run() -> None:
    assert CURVE.counted_seconds(1.0) == math.inf
    assert made_up(NANOGPT, (10, 2.5), end=44).counted_seconds(1.0) == 44
    assert made_up(NANOGPT, (10, 2.5), end=44).counted_seconds(2.5) == 10


def test_the_loss_within_a_time_is_the_best_so_far() -> None:
    assert CURVE.loss_within(29.9) == 1.9
    assert CURVE.loss_within(30) == 1.8
    assert CURVE.loss_within(100) == 1.8
    assert CURVE.loss_within(9) is None


def test_runs_are_paired_by_seed() -> None:
    runs = [made_up(name, (1, 1), seed=seed) for seed in (3, 1) for name in (SPRINT, NANOGPT, PRESET)]
    pairs = paired(runs, PRESET)
    assert [(ours.contestant, theirs.contestant) for ours, theirs in pairs] == [(PRESET, NANOGPT)] * 2
    assert [(ours.seed, theirs.seed) for ours, theirs in pairs] == [(3, 3), (1, 1)]


def test_ratios_are_of_a_pair_and_their_median_of_all_pairs() -> None:
    pairs = [
        (made_up(SPRINT, (10, 1.8), seed=seed), made_up(NANOGPT, (seconds, 1.8), seed=seed, start_up=3))
        for seed, seconds in enumerate((20, 40, 50))
    ]
    rows = pair_rows(pairs, target=1.8)
    assert [row["from first step"] for row in rows] == [0.5, 0.25, 0.2, 0.25]
    assert [row["from process start"] for row in rows] == [12 / 23, 12 / 43, 12 / 53, 12 / 43]


def test_a_run_of_ours_that_does_not_arrive_has_no_ratio_and_counts_as_the_slowest() -> None:
    pairs = [
        (made_up(SPRINT, (10, loss), seed=seed), made_up(NANOGPT, (20, 1.8), seed=seed))
        for seed, loss in enumerate((1.8, 1.9, 1.8))
    ]
    assert [row["from first step"] for row in pair_rows(pairs, target=1.8)] == [0.5, None, 0.5, 0.5]
    assert pair_rows(pairs[:2], target=1.8)[-1]["from first step"] is None


def test_a_run_is_shown_as_it_went() -> None:
    (reached, not_reached) = run_rows([CURVE, made_up(NANOGPT, (9, 2))], target=1.9)
    times = ("to target from process start, s", "from first step, s")
    assert [reached[time] for time in times] == [22, 20]
    assert [not_reached[time] for time in times] == [None, None]
    assert (reached["final loss"], reached["whole run from first step, s"]) == (1.9, 60)


def test_medians_are_of_each_contestant() -> None:
    runs = [made_up(SPRINT, (s, 1.8), seed=s, start_up=s) for s in (1, 2, 9)] + [made_up(NANOGPT, (7, 2), end=30)]
    ours, theirs = median_rows(runs, target=1.8, import_torch=0.5)
    assert (ours["reached"], ours["from first step, s"], ours["as multiple of `import torch`"]) == ("3 of 3", 2, 4)
    assert (theirs["reached"], theirs["from first step, s"], theirs["final loss"]) == ("0 of 1", 30, 2)


def test_losses_are_compared_after_nanogpts_own_time() -> None:
    (row,) = within_rows([(CURVE, made_up(NANOGPT, (5, 2.2), (25, 2.3), end=26))])
    assert row[f"best loss of {SPRINT} by then"] == 1.9
    assert (row["its final loss"], row["its best loss"]) == (2.3, 2.2)


def test_json_has_no_infinity() -> None:
    assert (finite(1.5), finite(math.inf)) == (1.5, None)


# Both score the same characters


class Theirs(torch.nn.Module):
    """A decoder that is called as nanoGPT's model is."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, None]:
        assert inputs.shape == targets.shape
        return self.decoder(inputs), None


def test_the_loss_of_a_checkpoint_is_what_our_evaluation_gives() -> None:
    held_out = Windows(IDS[200:299], context=8)
    loss = whole_split_loss(Theirs(decoder()), held_out, torch.device("cpu"))
    assert loss == pytest.approx(evaluate(decoder(), held_out, CPU), abs=1e-6)


def test_nanogpt_gets_our_split_and_our_ids(tmp_path: Path) -> None:
    text = corpus()
    write_data(text, tmp_path / "data")
    training, validation = (np.fromfile(tmp_path / "data" / f"{part}.bin", np.uint16) for part in ("train", "val"))
    assert text.vocabulary.decode([*training, *validation]) == TEXT
    assert validation.tolist() == text.held_out.ids[1:].tolist()
    assert len(validation) == round(len(TEXT) / 10)
    meta = pickle.loads((tmp_path / "data" / "meta.pkl").read_bytes())
    assert meta["vocab_size"] == len(set(TEXT))
    assert "".join(meta["itos"][place] for place in training) == TEXT[: len(training)]
    assert [meta["stoi"][meta["itos"][place]] for place in range(meta["vocab_size"])] == [*range(meta["vocab_size"])]


# The stopwatch


def under_stopwatch(folder: Path, script: str, *options: str, arguments: tuple[str, ...] = ()) -> Timing:
    """Run `script` with `note(name=value)` at hand, which adds to notes.json."""
    preamble = """
        import json, os, sys, time, torch
        from pathlib import Path
        notes = {}
        def note(**values):
            notes.update(values)
            Path("notes.json").write_text(json.dumps(notes))
    """
    (folder / "scripts").mkdir()
    (folder / "scripts" / "model.py").write_text("whose = 'the script'")
    (folder / "scripts" / "script.py").write_text(dedent(preamble) + dedent(script))
    return timed([*options, str(folder / "scripts" / "script.py"), *arguments], folder)


def notes(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "notes.json").read_text()))


def test_checkpoints_are_noted_and_copied_and_saved_as_ever(tmp_path: Path) -> None:
    timing = under_stopwatch(
        tmp_path,
        """
        layer = torch.nn.Linear(2, 2)
        torch.nn.Linear(2, 2).eval()(torch.ones(2))
        torch.save({"model": layer.state_dict()}, "other.pt")
        note(before=time.time())
        for step in (2, 4):
            layer(torch.ones(2))
            checkpoint = {"model": layer.state_dict(), "optimizer": 1, "model_args": {"size": 2}, "iter_num": step}
            torch.save(checkpoint, "checkpoint.pt")
        sys.exit(0)
        """,
        *("--keep", "kept"),
    )
    before = notes(tmp_path)["before"]
    assert isinstance(before, float)
    moments = [timing.started, before, timing.first_step, *(kept.moment for kept in timing.kept), timing.ended]
    assert moments == sorted(moments)
    assert [(kept.step, kept.file) for kept in timing.kept] == [(2, "2.pt"), (4, "4.pt")]
    assert all(kept.copy_seconds >= 0 for kept in timing.kept)
    assert sorted(file.name for file in (tmp_path / "kept").iterdir()) == ["2.pt", "4.pt"]
    copy, saved = torch.load(tmp_path / "kept" / "4.pt"), torch.load(tmp_path / "checkpoint.pt")
    assert copy.keys() == {"model", "model_args"}
    assert saved.keys() == {"model", "optimizer", "model_args", "iter_num"}
    torch.testing.assert_close(copy["model"], saved["model"])
    assert torch.load(tmp_path / "other.pt").keys() == {"model"}


def test_a_script_runs_as_python_would_run_it_but_for_its_seed(tmp_path: Path) -> None:
    arguments = ("--keep=x", "config.py", "-m")
    under_stopwatch(
        tmp_path,
        """
        from model import whose
        torch.manual_seed(1337)
        note(name=__name__, arguments=sys.argv[1:], path=sys.path[0], folder=os.getcwd(), whose=whose)
        note(seed=torch.initial_seed(), script=sys.argv[0], file=__file__)
        torch.nn.Linear(2, 2)(torch.ones(2))
        """,
        *("--seed-offset", "5"),
        arguments=arguments,
    )
    scripts = str(tmp_path / "scripts")
    assert notes(tmp_path) == {
        **{"name": "__main__", "arguments": [*arguments], "path": scripts, "folder": str(tmp_path)},
        **{"whose": "the script", "seed": 1342},
        **dict.fromkeys(("script", "file"), f"{scripts}/script.py"),
    }


def test_the_first_step_is_before_it_is_compiled_and_nothing_is_compiled_anew(tmp_path: Path) -> None:
    timing = under_stopwatch(
        tmp_path,
        """
        class Model(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())

            def forward(self, x):
                return self.layers(x)

        compiled = []
        def backend(graph, _):
            compiled.append((time.time(), torch.is_grad_enabled()))
            return graph.forward

        model = torch.compile(Model(), backend=backend)
        for _ in range(2):
            model.eval()
            with torch.no_grad():
                model(torch.ones(2, 2))
            model.train()
            model(torch.ones(2, 2))
        note(compiled=compiled)
        """,
    )
    compiled = notes(tmp_path)["compiled"]
    assert isinstance(compiled, list)
    (evaluation, with_gradients), (training, with_gradients_too) = compiled
    assert (with_gradients, with_gradients_too) == (False, True)
    assert evaluation <= timing.first_step <= training


@pytest.mark.parametrize(
    ("script", "said"), [("print('it was 7')\nsys.exit(3)", "it was 7"), ("raise SystemError('of its own')", "its own")]
)
def test_of_a_script_that_fails_the_last_lines_are_shown(tmp_path: Path, script: str, said: str) -> None:
    with pytest.raises(RunFailedError, match=said):
        under_stopwatch(tmp_path, script)


def test_a_script_that_trains_nothing_has_failed(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match="expected a training run, got exit code 0"):
        under_stopwatch(tmp_path, "print('nothing to do')")


# The command

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
