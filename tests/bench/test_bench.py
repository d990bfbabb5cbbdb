"""The harness's arithmetic, and each benchmark at its smallest. No time is asserted."""

import json
import re
import struct
from pathlib import Path

import pytest
import torch

from bench import curves, gpu, ngram, processes, profile, race, sampling, scaling, throughput
from bench.commands import run_command
from bench.harness import ONCE, Options, Report, Spread, peak_bytes, times_as_fast
from bench.llama2c import sample_llama2c, write_llama2c
from bench.peers import training_peers
from bench.racers import NANOGPT, OUR_QUICK_SETTINGS, Evaluation, Run, run_charscope
from bench.scaling import LAYERS, SCORING, STEPS, Case, doubling, exponent, prepare
from bench.training_step import shape_on
from bench.workers import Contestant, Model, Outcome, compete, installed
from data.config import DataConfig, Source
from tests.data.helpers import split_text

CPU = torch.device("cpu")
TINY = shape_on("cpu", "small", quick=True)


def test_ratios_are_paired_within_rounds_before_their_median_is_taken() -> None:
    assert times_as_fast([1.0, 10.0, 2.0], [3.0, 20.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    ours, theirs = [{"training step": 0.001}, {"training step": 0.002}], [{"training step": 0.002}] * 2
    assert throughput.rows(ours, theirs)[0]["times as fast"] == "1.500 (1.000 to 2.000)"


def test_a_report_keeps_machine_commit_and_failures_in_both_files(tmp_path: Path) -> None:
    report = Report("figure", "A figure", CPU, quick=True)
    report.add("Section", "Words.", [{"name": "a", "ms": 1.234, "range": Spread(1.0, 0.5, 2.0)}], [])
    report.data |= {"shape": TINY, "failed": {"peer": "it broke"}}
    with pytest.raises(SystemExit, match="failed: peer"):
        report.save(tmp_path)
    written = (tmp_path / "figure.md").read_text(encoding="utf-8")
    assert "FIGURES MEAN NOTHING" in written
    assert "Failed: peer: it broke" in written
    assert "| a    | 1.23 | 1.00 (0.50 to 2.00) |" in written
    data = json.loads((tmp_path / "figure.json").read_text(encoding="utf-8"))
    assert data["shape"]["width"] == TINY.width
    assert data["machine"]["torch"] == str(torch.__version__)
    assert data["commit"]


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--nanogpt", "nowhere"], ["--output", __file__]])
def test_what_could_only_fail_later_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        Options("figure", "A figure.", nanogpt_file="model.py", rounds=3).read(arguments)
    assert f"{arguments[0]}: expected" in capsys.readouterr().err


def good(*_: object) -> Model:
    return Model(print, 7, "settings")


def bad(*_: object) -> Model:
    raise ValueError("it broke\nat length")


def answering(*_: object) -> type[int]:
    return int


@pytest.mark.slow
def test_a_contestant_that_fails_is_named_and_the_others_go_on() -> None:
    found, failed = compete(answering, [Contestant("good", good), Contestant("bad", bad)], TINY, CPU, "3", rounds=2)
    assert [(each.name, each.rounds) for each in found] == [("good", [3, 3])]
    assert failed == {"bad": "ValueError: it broke"}


def test_peers_that_are_not_installed_or_not_there_are_left_out_by_name() -> None:
    data: dict[str, dict[str, str]] = {"left_out": {}, "versions": {}}
    missing = Contestant("missing", good, package="no-such-package")
    there = installed([*training_peers(None, data), missing], data)
    assert {"nanoGPT", "missing"} <= data["left_out"].keys()
    assert "torch.nn.TransformerEncoder" in [each.name for each in there]


def test_all_contestants_take_steps_on_the_same_batches() -> None:
    report = Report("throughput_cpu", "Training speed", CPU, quick=True)
    ours = [each for each in throughput.OURS if not each.compiled]
    outcomes = []
    for contestant in [*ours, Contestant("torch", training_peers(None, report.data)[-1].prepare)]:
        model = contestant.prepare(TINY, CPU)
        answer = throughput.answering(model, TINY, CPU)
        rounds = [answer(ONCE), answer(ONCE)]
        outcomes.append(Outcome(contestant.name, contestant.ours, model.parameters, model.settings, rounds))
    throughput.add_shape(report, TINY, outcomes)
    assert report.markdown().count("| charscope") == 4  # two of ours, in two tables


def test_a_profile_splits_the_whole_step() -> None:
    found = profile.profile(TINY, CPU, peak=1e9, quick=True)
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert found["phases"].keys() == {"forward", "backward", "optimizer"}
    report = Report("profile_cpu", "Profile", CPU, quick=True)
    profile.add_shape(report, found)
    assert "share of the peak" in report.markdown()


def test_a_race_counts_nanogpts_whole_run_where_it_never_arrives() -> None:
    ours = Run("ours", 0, 1.0, 50.0, [Evaluation(1, 4.0, 2.0), Evaluation(2, 9.0, 1.5)], 1)
    theirs = Run(NANOGPT, 0, 2.0, 18.0, [Evaluation(1, 5.0, 1.9)], 1)
    medians, runs = race.rows([ours, theirs], target=1.5)
    assert medians[0]["from first step"] == 0.5
    assert medians[0]["time / nanoGPT's from process start"] == 0.5
    assert medians[0]["best loss within nanoGPT's run"] == "1.5000"
    assert [row["reached"] for row in runs] == ["yes", "no"]


def test_a_run_beside_an_earlier_build_counts_when_it_arrives_or_not_at_all() -> None:
    ours = Run("laptop", 0, 1.0, 50.0, [Evaluation(1, 4.0, 2.0), Evaluation(2, 9.0, 1.5)], 200)
    theirs = Run("laptop", 0, 2.0, 18.0, [Evaluation(1, 5.0, 1.9), Evaluation(2, 18.0, 1.5)], 100)
    found = race.paired_row(ours, theirs, target=1.5)
    assert (found["ratio"], found["peak memory / baseline's"]) == (0.5, 2.0)
    assert race.paired_row(ours, theirs, target=1.4)["ratio"] == "not reached"


def test_the_gain_of_processes_is_over_one_in_the_same_round() -> None:
    setups = [processes.Setup("", TINY, 1), processes.Setup("weak", TINY, 2)]
    (_, two) = processes.rows(setups, [[10.0, 15.0], [5.0, 10.0]])
    assert (two["times one"], two["of the ideal"]) == (Spread(1.75, 1.5, 2.0), "88%")


@pytest.mark.slow
def test_what_a_gpu_is_to_show_is_rehearsed_part_by_part(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(map(chr, range(33, 97))) * 40)
    gpu.main(["--quick", "--device=cpu", f"--text={text}", f"--output={tmp_path}"])
    data = json.loads((tmp_path / "gpu_cpu.json").read_text())
    tests, preset, steps, sampling, snapshots, enwik8 = (rows for (*rows,) in data["parts"].values())
    assert re.search(r"\d+ (skipped|passed), \d+ deselected", tests[0]["tests"])
    assert preset[0]["steps"] == 4
    for name, rows in (("throughput", steps), ("sampling", sampling), ("board", snapshots)):
        assert rows[0]["result"] == f"[{name}_cpu.md]({name}_cpu.md)"
        assert json.loads((tmp_path / f"{name}_cpu.json").read_text())["failed"] == {}
    assert int(enwik8[0]["characters/s"].replace(",", "")) > 0


def test_the_losses_of_a_run_are_plotted_beside_the_published_ones_without_its_folders(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the bench extra is not installed")
    text = tmp_path / "text.txt"
    text.write_text("".join(map(chr, range(33, 97))) * 40)
    settings = ["experiment=shakespeare_gpu", f"data.path={text}", "runtime.device=cpu", *OUR_QUICK_SETTINGS.split()]
    run = run_charscope("ours", 0, tmp_path, *settings)
    curves.main([str(tmp_path / "run"), f"--output={tmp_path}"])
    report, content = ((tmp_path / f"curves_cpu.{suffix}").read_text() for suffix in ("md", "json"))
    points = json.loads(content)["curves"]["seed 0"]
    assert [(point["step"], point["validation"]) for point in points] == [
        (each.step, each.loss) for each in run.evaluations
    ]
    assert "| 1750 |        | 1.4720" in report
    assert str(tmp_path) not in content + report
    assert (tmp_path / "curves_cpu.png").stat().st_size > 10_000
    for wrong in ([tmp_path], [tmp_path / "run", tmp_path / "run"]):
        with pytest.raises(SystemExit, match="2"):
            curves.main([str(folder) for folder in wrong])


def test_a_part_is_stopped_in_time_with_what_it_has_started_and_keeps_what_it_wrote() -> None:
    script = "import subprocess, sys; print('first', flush=True); subprocess.run([sys.executable, '-c', 'while 1: 0'])"
    took = run_command("-c", f"{script}; print('last')", seconds=3)
    assert took.stopped
    assert took.output == b"first\n"


@pytest.mark.parametrize("true", [0, 0.5, 1, 2, 3])
def test_the_fit_recovers_the_exponent_of_a_power(true: float) -> None:
    sizes = doubling(64, 4096)
    assert exponent(sizes, [7e-5 * size**true for size in sizes]) == pytest.approx(true, abs=1e-12)


def test_explicit_attention_takes_memory_in_n_squared_and_fused_in_n() -> None:
    sizes = doubling(128, 1024)
    explicit, fused = (
        [peak_bytes(prepare(operation, CPU, n=n, d=16)) for n in sizes]
        for operation in ("explicit attention", "fused attention")
    )
    assert exponent(sizes, explicit) == pytest.approx(2, abs=0.1)
    assert exponent(sizes, fused) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    "sizes", [{"n": 33, "d": 8}, {"Q": 5, "K": 33, "D": 16, "V": 1}, {"Q": 5, "K": 9, "D": 1, "V": 4}]
)
def test_explicit_and_fused_attention_agree(sizes: dict[str, int]) -> None:
    kind = "attention" if "n" in sizes else "dot product"
    results = []
    for how in ("explicit", "fused"):
        torch.manual_seed(0)
        results.append(prepare(f"{how} {kind}", CPU, **sizes)())  # the result of the pass, or its gradients
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("case", LAYERS + SCORING + STEPS, ids=lambda case: f"{case.operation}-{case.varied}")
def test_every_case_is_measured_at_sizes_enough_for_a_fit(case: Case) -> None:
    assert len(case.sizes) >= 4
    curve = scaling.measure(case.quick(), CPU, ONCE)
    assert len(curve.seconds) == len(curve.peak_bytes) == len(curve.case.sizes)
    assert "time: fitted" in curve.row()


def test_peak_bytes_counts_each_storage_once_and_the_backward_pass_too() -> None:
    x = torch.zeros(1000, requires_grad=True)
    assert peak_bytes(lambda: [x.view(-1), x[3:], x.expand(5, 1000)]) == 0
    assert peak_bytes(lambda: [torch.zeros(1000) for _ in range(10)]) == 40_000
    assert peak_bytes(lambda: torch.autograd.grad((x.exp() * 2).sum(), x)) >= 3 * 4000


def test_n_grams_of_any_text_are_counted_to_the_order_that_fits(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("".join(f"{first}{last}\n" for first in "abc" for last in "xyz" * 10))
    ngram.main([f"--output={tmp_path}", "--quick", f"data.path={tmp_path / 'names.txt'}", "data.unit=line"])
    (found,) = (each for each in json.loads((tmp_path / "ngram.json").read_text()).values() if "rows" in str(each))
    assert [row["order"] for row in found["rows"]] == [1, 2, 3]
    assert "The best order: " in (tmp_path / "ngram.md").read_text(encoding="utf-8")
    many = split_text("".join(map(chr, range(1000, 6000))) * 2, DataConfig(source=Source.text8), context=8)
    assert [row["order"] for row in ngram.measure(many, 9)] == [1, 2, 3, 4, 5]


def test_llama2c_gets_files_of_the_sizes_in_its_header_and_is_timed_by_its_own_clock(tmp_path: Path) -> None:
    parameters = write_llama2c(tmp_path, TINY)
    C, hidden, L, _, _, V, S = struct.unpack("7i", (tmp_path / "model.bin").read_bytes()[:28])
    assert parameters == 2 * -V * C + L * (4 * C * C + 3 * C * hidden) + (2 * L + 1) * C
    assert (tmp_path / "model.bin").stat().st_size == 28 + 4 * (parameters + S * C // TINY.heads)
    assert (tmp_path / "tokenizer.bin").stat().st_size == 4 + 9 * -V
    run = tmp_path / "run"
    run.write_text("#!/bin/sh\nshift 8\nprintf '%*s\\n' $1 ''\necho 'achieved tok/s: 50.0' >&2\n")
    run.chmod(0o755)
    model = sample_llama2c(tmp_path, 0.8, TINY, CPU)
    assert (model.run(5), model.seconds and model.seconds(5)) == (5, 0.1)


def test_a_clone_of_llama2c_that_is_not_compiled_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        sampling.main(["--llama2c", str(tmp_path)])
    assert "--llama2c: expected" in capsys.readouterr().err
