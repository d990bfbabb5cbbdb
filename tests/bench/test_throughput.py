import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

import bench.throughput
from bench.machine import Protocol
from bench.ours import Shape
from bench.peers import OUR_CONTESTANTS, Contestant, TorchEncoder, commit, nanogpt
from bench.stopwatch import ROOT
from bench.throughput import compete, installed, main, random_batches, ratio, shape_for
from bench.throughput_report import Contest, Findings, Result, Spread, markdown, plot
from tests.bench.helpers import fake_nanogpt

CPU = torch.device("cpu")
TINY = Shape("tiny", layers=1, heads=2, width=16, context=8, batch=2)
ONCE = Protocol(warm_up=0, repeats=1, seconds=0)


def made_up_result(name: str, seconds: list[float], ratios: dict[str, Spread]) -> Result:
    speed = Spread.of([16 / time for time in seconds])
    return Result(name, "fp32, AdamW", 1234, seconds, sorted(seconds)[1], speed, ratios)


def made_up_findings() -> Findings:
    ours, theirs = [1.0, 2.0, 3.0], [2.0, 10.0, 3.0]
    results = [
        made_up_result("charscope", ours, {"nanoGPT": ratio(ours, theirs)}),
        made_up_result("nanoGPT", theirs, {}),
    ]
    return Findings(
        machine={"hardware": "abacus", "threads": 1, "torch": "2", "python": "3", "date": "2026-01-31"},
        device="cpu",
        commit="fedcba",
        protocol="As agreed.",
        timing=ONCE,
        rounds=3,
        versions={"nanoGPT": "abcdef"},
        left_out={"transformers": "it is not installed"},
        contests=[Contest(TINY, results, {}), Contest(TINY, results[:1], {"nanoGPT": "ValueError: too tiny"})],
        trial=False,
    )


# What is computed


def test_ratios_are_taken_within_each_round() -> None:
    # The ratio of the medians would be 1.5.
    assert ratio(ours=[1.0, 2.0, 3.0], theirs=[2.0, 10.0, 3.0]) == Spread(median=2.0, lowest=1.0, highest=5.0)


def test_ratios_need_as_many_rounds_of_both() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0, 2.0], [1.0])


def test_all_processes_make_the_same_batches() -> None:
    for (inputs, targets), again in zip(random_batches(TINY, CPU), random_batches(TINY, CPU), strict=True):
        assert inputs.shape == targets.shape == (TINY.batch, TINY.context)
        assert inputs.dtype == targets.dtype == torch.int64
        torch.testing.assert_close((inputs, targets), again)


def test_a_cpu_gets_smaller_batches_of_large_windows_alone() -> None:
    for name, smaller in ("small", False), ("baby_gpt", True):
        assert (shape_for(name, "cpu", quick=False).batch < shape_for(name, "cuda", quick=False).batch) == smaller


def test_the_encoder_of_torch_never_sees_the_future() -> None:
    torch.manual_seed(0)
    model = TorchEncoder(TINY)
    ids = torch.randint(65, (1, TINY.context))
    changed = ids.clone()
    changed[0, 5] = (ids[0, 5] + 1) % 65
    same = (model(ids) == model(changed)).all(dim=-1)[0]
    assert same.tolist() == [place < 5 for place in range(TINY.context)]


def test_a_folder_inside_another_checkout_has_no_commit_of_its_own(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "nanoGPT").mkdir()
    assert commit(tmp_path / "nanoGPT") == "not a git checkout"


# What is told


def test_a_peer_that_is_not_installed_is_named() -> None:
    ours, missing = OUR_CONTESTANTS[0], replace(OUR_CONTESTANTS[0], name="theirs", package="no such package")
    entrants, left_out = installed([ours, missing])
    assert entrants == [ours]
    assert list(left_out) == ["theirs"]
    assert "no such package is not installed" in left_out["theirs"]


def test_the_report_tells_protocol_figures_and_who_is_missing() -> None:
    text = markdown(made_up_findings())
    assert "trial" not in text
    assert text.index("As agreed.") < text.index("| contestant")
    assert "nanoGPT abcdef" in text
    assert "commit fedcba" in text
    assert "Left out: transformers, it is not installed" in text
    assert "nanoGPT failed: ValueError: too tiny" in text
    assert "2.00 (1.00 to 5.00)" in text  # the ratio
    assert "8 (5 to 16)" in text  # our characters/s


def test_the_report_has_a_panel_for_each_shape() -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra: pip install --editable '.[bench]'")
    found = made_up_findings()
    assert len(plot(found).axes) == len(found.contests)


# The command


def test_a_quick_run_writes_all_that_it_measured(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = fake_nanogpt(tmp_path / "nanoGPT")
    main(["--quick", "--shape", "small", "--rounds", "2", "--nanogpt", str(folder), "--output", str(tmp_path)])
    found = json.loads((tmp_path / "throughput_cpu.json").read_text(encoding="utf-8"))
    text = (tmp_path / "throughput_cpu.md").read_text(encoding="utf-8")
    printed = capfd.readouterr().out
    assert text in printed
    assert "noise" not in printed
    assert found["trial"]
    assert "**A trial" in text
    assert found["protocol"] in text
    assert found["versions"]["nanoGPT"] == "not a git checkout"
    assert found["commit"] == commit(ROOT)

    [contest] = found["contests"]
    assert contest["failed"] == {}
    results = {result["name"]: result for result in contest["results"]}
    assert results.keys() >= {"charscope", "nanoGPT", "torch.nn.TransformerEncoder"}
    assert results.keys() | found["left_out"].keys() >= {"transformers", "x-transformers"}
    assert results["nanoGPT"]["parameters"] == 65 * 16 + 16 * 65 + 65
    for name, result in results.items():
        assert len(result["round_seconds"]) == found["rounds"] == 2
        assert ("nanoGPT" in result["ratios"]) == name.startswith("charscope")
        assert not any(peer.startswith("charscope") for peer in result["ratios"])
        row = "".join(line for line in text.splitlines() if line.startswith(f"| {name} "))
        for spread, form in (result["characters_per_second"], ",.0f"), *((r, ".2f") for r in result["ratios"].values()):
            median, lowest, highest = (format(spread[key], form) for key in ("median", "lowest", "highest"))
            assert f"{median} ({lowest} to {highest})" in row


def test_a_contestant_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without matplotlib, too, there is a report.
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    peers = {
        "raises": fake_nanogpt(tmp_path / "raises", forward="raise RuntimeError('no more\\nof this')"),
        "dies": fake_nanogpt(tmp_path / "dies", forward="os._exit(3)"),
        "empty": tmp_path / "empty",
    }
    entrants = [replace(OUR_CONTESTANTS[0], name="ours")]
    entrants += [Contestant(name, partial(nanogpt, folder)) for name, folder in peers.items()]
    monkeypatch.setattr(bench.throughput, "contestants", lambda _: entrants)

    with pytest.raises(SystemExit, match="failed: raises, dies, empty"):
        main(["--quick", "--shape", "small", "--rounds", "1", "--output", str(tmp_path / "results")])
    printed = capsys.readouterr().out
    assert "Left out: nanoGPT, no --nanogpt" in printed
    assert "raises failed: RuntimeError: no more\n" in printed
    assert "dies failed: its process ended with exit code 3\n" in printed
    assert "empty failed: FileNotFoundError" in printed
    assert "| ours " in printed
    assert ".[bench]" in printed
    files = sorted(file.name for file in (tmp_path / "results").iterdir())
    assert files == ["throughput_cpu.json", "throughput_cpu.md"]


def test_without_ours_peers_are_timed_and_compared_with_nothing(tmp_path: Path) -> None:
    peer = Contestant("peer", partial(nanogpt, fake_nanogpt(tmp_path / "nanoGPT")))
    contest = compete(TINY, [peer], CPU, ONCE, rounds=1)
    assert [(result.name, result.ratios) for result in contest.results] == [("peer", {})]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nanogpt", "no/such/folder"], "--nanogpt: expected a clone of nanoGPT, got no/such/folder"),
        (["--rounds", "0"], "--rounds: expected at least 1, got 0"),
        pytest.param(
            ["--device", "cuda"],
            "--device: expected cpu, got cuda",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that is not there"),
        ),
    ],
)
def test_a_mistake_is_said_in_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert message in line
