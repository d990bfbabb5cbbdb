import json
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

import bench.sampling
import bench.sampling_alone
from bench.peers import commit
from bench.samplers import WARM_UP, Contestant, charscope, nanogpt
from bench.sampling import TINY, WHOLE, compete, main, protocol
from bench.stopwatch import ROOT
from model.config import PositionKind
from tests.bench.helpers import fake_nanogpt
from training.config import Precision


def test_large_batches_write_less() -> None:
    assert [WHOLE.lengths(batch) for batch in WHOLE.batches] == [(255, 1000), (255, 1000), (255, 300)]


def test_the_protocol_tells_how_much_was_written() -> None:
    assert all(number in protocol(WHOLE) for number in ("255 ids", "1,000 of each", "300 with a batch", "10,000th"))


def test_a_quick_run_writes_all_that_it_measured(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fake_nanogpt(tmp_path / "nanoGPT")
    entrants = [
        Contestant("charscope", partial(charscope, Precision.auto, PositionKind.rotary), ours=True),
        Contestant("nanoGPT", partial(nanogpt, folder)),
    ]
    monkeypatch.setattr(bench.sampling, "contestants", lambda _: (entrants, {}))
    arguments = ["--quick", "--batch", "1", "--rounds", "2", "--nanogpt", str(folder), "--output", str(tmp_path)]
    main(arguments)
    found = json.loads((tmp_path / "sampling_cpu.json").read_text(encoding="utf-8"))
    text = (tmp_path / "sampling_cpu.md").read_text(encoding="utf-8")
    printed = capfd.readouterr().out
    assert text in printed
    assert "noise" not in printed
    assert "**A trial" in text
    assert found["trial"]
    assert found["protocol"] in text
    assert found["commit"] == commit(ROOT)
    assert found["versions"]["nanoGPT"] == "not a git checkout"
    assert "start-up" in found["left_out"]
    assert found["late"]["ratio"]["median"] > 0

    [contest] = found["contests"]
    assert (contest["batch"], contest["filling"], contest["whole"], contest["failed"]) == (1, 7, 12, {})
    ours, theirs = contest["results"]
    assert (ours["ratios"].keys(), theirs["ratios"]) == ({"nanoGPT"}, {})
    for result in ours, theirs:
        assert len(result["turns"]) == found["rounds"] == 2
        assert 0 <= result["turns"][0]["growth"] <= result["turns"][1]["growth"] == result["growth"]
        speeds = [12 / turn["whole"] for turn in result["turns"]]
        assert (result["whole_speed"]["lowest"], result["whole_speed"]["highest"]) == (min(speeds), max(speeds))
        row = "".join(line for line in text.splitlines() if line.startswith(f"| {result['name']} "))
        told = (format(result["whole_speed"][key], ",.0f") for key in ("median", "lowest", "highest"))
        assert "{} ({} to {})".format(*told) in row


def test_a_contestant_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without matplotlib, too, there is a report.
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    peers = {
        "well": fake_nanogpt(tmp_path / "well"),
        "raises": fake_nanogpt(tmp_path / "raises", generate="raise RuntimeError('no more\\nof this')"),
        "dies late": fake_nanogpt(tmp_path / "dies", generate=f"max_new_tokens == {WARM_UP} or os._exit(3)"),
        "stops short": fake_nanogpt(tmp_path / "short", generate="max_new_tokens //= 2"),
    }
    entrants = [Contestant(name, partial(nanogpt, folder)) for name, folder in peers.items()]
    monkeypatch.setattr(bench.sampling, "contestants", lambda _: (entrants, {}))
    with pytest.raises(SystemExit, match="failed: raises, dies late, stops short"):
        main(["--quick", "--batch", "2", "--output", str(tmp_path / "results")])
    printed = capsys.readouterr().out
    assert "raises failed: RuntimeError: no more\n" in printed
    assert "dies late failed: its process ended with exit code 3\n" in printed
    assert f"stops short failed: ValueError: expected {2 * WARM_UP} ids, got {WARM_UP}\n" in printed
    assert "| well " in printed
    assert "times as fast" not in printed  # without ours nothing is compared
    assert ".[bench]" in printed
    files = sorted(file.name for file in (tmp_path / "results").iterdir())
    assert files == ["sampling_cpu.json", "sampling_cpu.md"]


def test_a_contestant_that_never_gets_ready_is_named(tmp_path: Path) -> None:
    empty = Contestant("empty", partial(nanogpt, tmp_path))
    contest = compete(TINY, [empty], torch.device("cpu"), (7, 12), rounds=1)
    assert contest.results == []
    assert contest.failed["empty"].startswith("FileNotFoundError")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nanogpt", "no/such/folder"], "--nanogpt: expected a clone of nanoGPT, got no/such/folder"),
        (["--rounds", "0"], "--rounds: expected at least 1, got 0"),
        (["--batch", "1", "0"], "--batch: expected at least 1, got 0"),
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


def test_a_checkpoint_that_is_not_there_is_said_before_anything_is_timed() -> None:
    with pytest.raises(SystemExit, match=r"checkpoint: expected a checkpoint.*no/such/file"):
        main(["--quick", "--checkpoint", "no/such/file"])
