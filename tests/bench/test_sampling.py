import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import bench.sampling
import bench.sampling_alone
from bench.machine import Protocol
from bench.peers import commit
from bench.samplers import (
    WARM_UP,
    Contestant,
    as_sampled,
    charscope,
    contestants,
    nanogpt,
    new_decoder,
    product_types,
    transformers,
)
from bench.sampling import QUICK, TINY, WHOLE, Plan, compete, main, protocol
from bench.sampling_alone import find_limit, find_start_up, first_output_seconds, mean_seconds, stretch
from bench.sampling_report import (
    Contest,
    Findings,
    Late,
    Limit,
    Ratios,
    Result,
    StartUp,
    Turn,
    markdown,
    plot,
)
from bench.stopwatch import ROOT, RunFailedError
from bench.throughput_report import Spread
from bench.workers import Ready
from model.config import PositionKind
from model.decoder import inference
from model.likelihood import windows
from model.packing import packed
from training.config import Precision

CPU = torch.device("cpu")
PAIR = replace(TINY, batch=2)
IDS = torch.tensor([[3, 1, 4, 1, 5]])

# What bench.samplers asks of a clone of nanoGPT, and no more.
FAKE_NANOGPT = """
import os
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class GPTConfig:
    block_size: int
    vocab_size: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float
    bias: bool


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        print("noise of the model")
        self.head = nn.Linear(config.n_embd, config.vocab_size)

    def generate(self, ids, max_new_tokens, temperature):
        assert not self.training and not torch.is_grad_enabled() and temperature == 0.8
        GENERATE
        return torch.cat([ids, torch.ones(len(ids), max_new_tokens, dtype=ids.dtype)], dim=1)
"""


def fake_nanogpt(folder: Path, generate: str = "pass") -> Path:
    """A folder that passes for a clone of nanoGPT; `generate` is what its model does first."""
    folder.mkdir()
    (folder / "model.py").write_text(FAKE_NANOGPT.replace("GENERATE", generate), encoding="utf-8")
    return folder


def turns(first: Sequence[float], filling: Sequence[float], whole: Sequence[float]) -> list[Turn]:
    grown = (1_000_000, 2_500_000, 2_500_000)
    return [Turn(*each) for each in zip(first, filling, whole, grown, strict=True)]


OURS = turns([0.25, 0.25, 0.25], filling=[1.0, 2.0, 3.0], whole=[10.0, 10.0, 10.0])
THEIRS = turns([0.25, 0.5, 0.75], filling=[2.0, 10.0, 3.0], whole=[40.0, 20.0, 30.0])


def made_up_contest(batch: int) -> Contest:
    lengths, ready = (255, 1000), Ready(1234, "bfloat16, rotary")
    ours = Result.of("charscope", ready, OURS, batch, lengths, {"nanoGPT": THEIRS})
    theirs = Result.of("nanoGPT", ready, THEIRS, batch, lengths, {})
    return Contest(batch, *lengths, [ours, theirs], {"transformers": "ValueError: too tiny"})


def made_up_findings() -> Findings:
    return Findings(
        machine={"hardware": "abacus", "threads": 1, "torch": "2", "python": "3", "date": "2026-01-31"},
        device="cpu",
        commit="fedcba",
        protocol="As agreed.",
        shape=WHOLE.shape,
        rounds=3,
        versions={"nanoGPT": "abcdef"},
        left_out={"start-up": "nobody asked"},
        contests=[made_up_contest(1), made_up_contest(10)],
        late=Late((36, 164), (9936, 10064), [(0.001, 0.0011), (0.002, 0.003)], Spread.of([1.1, 1.5])),
        limit=Limit(20_000_000, 5_000_000, bytes_per_second=5e9, ids_per_second=200.0),
        start_up=None,
        trial=False,
    )


# What is computed


def test_ratios_are_taken_within_each_round() -> None:
    found = Ratios.of(OURS, THEIRS)
    assert found.first == Spread(median=2.0, lowest=1.0, highest=3.0)
    assert found.filling == Spread(median=2.0, lowest=1.0, highest=5.0)  # that of the medians would be 1.5
    assert found.whole == Spread(median=3.0, lowest=2.0, highest=4.0)


def test_speeds_are_those_of_all_sequences_together_and_memory_is_that_of_the_last_turn() -> None:
    found = made_up_contest(10).results[0]
    assert found.filling_speed == Spread(median=1275.0, lowest=850.0, highest=2550.0)
    assert found.whole_speed == Spread(median=1000.0, lowest=1000.0, highest=1000.0)
    assert found.growth == 2_500_000


def test_large_batches_write_less() -> None:
    assert [WHOLE.lengths(batch) for batch in WHOLE.batches] == [(255, 1000), (255, 1000), (255, 300)]


def test_stretches_lie_around_their_ids() -> None:
    assert stretch(100, context=256) == (36, 164)
    assert stretch(10_000, context=256) == (9936, 10_064)


@pytest.mark.parametrize("plan", [WHOLE, QUICK])
def test_of_the_two_stretches_the_late_one_alone_holds_a_reading_again_and_holds_one(plan: Plan) -> None:
    context = plan.shape.context
    first_after = {window.stop + 1 for window in windows(2 * plan.late, context)}
    early, late = (range(first, last + 1) for first, last in (stretch(id_, context) for id_ in (plan.early, plan.late)))
    assert len(early) == len(late)
    assert early.start >= 1
    assert (len(first_after & {*early}), len(first_after & {*late})) == (0, 1)


def test_an_id_of_a_stretch_is_timed_with_those_of_the_stretch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def ids() -> Iterator[int]:
        nonlocal now
        for number in range(1, 100):
            now += number  # the n-th id takes n seconds
            yield number

    monkeypatch.setattr(bench.sampling_alone, "time", SimpleNamespace(perf_counter=lambda: now))
    assert mean_seconds(ids(), [(3, 7), (38, 42)], CPU) == [5.0, 40.0]


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 4), (torch.bfloat16, 2)])
def test_the_limit_counts_what_is_read_for_an_id(dtype: torch.dtype, size: int) -> None:
    plain = new_decoder(TINY, PositionKind.rotary, CPU)
    found = find_limit(packed(plain, dtype, 2**18), Protocol(warm_up=0, repeats=1, seconds=0))
    assert found.weight_bytes == size * plain.config.map_weights() + 4 * 65 * 16
    assert found.cache_bytes == 2 * 8 * 16 * 4  # keys and values, context, width
    assert found.ids_per_second == pytest.approx(found.bytes_per_second / (found.weight_bytes + found.cache_bytes))


def test_the_share_of_the_limit_is_that_of_one_sequence() -> None:
    found = made_up_findings()
    assert found.share() == pytest.approx(0.5)  # 100 of 200 ids/s
    assert replace(found, contests=found.contests[1:]).share() is None


FREED = """
import torch
from bench.samplers import forget_peak, peak_bytes
device = torch.device("cpu")
before = forget_peak(device)
torch.ones(25_000_000)  # 100 MB, freed at once
print(peak_bytes(device) - before, forget_peak(device) - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a peak can be forgotten on Linux alone")
def test_memory_that_was_freed_counts_until_it_is_forgotten() -> None:
    """In a process of its own, where nobody has told the allocator to keep what is freed."""
    done = subprocess.run([sys.executable, "-c", FREED], cwd=ROOT, capture_output=True, text=True, check=True)
    grown, forgotten = map(int, done.stdout.split())
    assert 90e6 < grown < 150e6
    assert abs(forgotten) < 50e6


# The contestants


@pytest.mark.parametrize("position", [PositionKind.rotary, PositionKind.learned])
def test_ours_writes_as_many_ids_as_are_asked_for(position: PositionKind) -> None:
    writer = charscope(Precision.auto, position, PAIR, CPU)
    assert writer.write(20) == 2 * 20  # past the context, too
    assert writer.settings.endswith(f", {position}")
    assert writer.parameters == new_decoder(PAIR, position, CPU).parameter_count()


def test_a_decoder_that_samples_computes_what_the_plain_one_does() -> None:
    plain = new_decoder(TINY, PositionKind.rotary, CPU)
    ready = as_sampled(plain, 1)
    assert product_types(ready) in ("bfloat16", "float32")
    with inference(plain):
        torch.testing.assert_close(ready(IDS), plain(IDS), rtol=0.05, atol=0.05)


def test_gpt2_writes_as_many_ids_as_are_asked_for() -> None:
    pytest.importorskip("transformers", reason="it comes with the extra: pip install --editable '.[bench]'")
    assert transformers(PAIR, CPU).write(20) == 2 * 20


def test_who_is_left_out_is_named() -> None:
    entrants, left_out = contestants(None)
    assert [entrant.name for entrant in entrants if entrant.ours] == [
        "charscope",
        "charscope, fp32",
        "charscope, learned positions",
    ]
    assert left_out["nanoGPT"] == "no --nanogpt says where it is"
    assert ("transformers" in left_out) != ("transformers" in [entrant.name for entrant in entrants])


# What is told


def test_the_report_tells_protocol_figures_and_who_is_missing() -> None:
    text = markdown(made_up_findings())
    assert "trial" not in text
    assert text.index("As agreed.") < text.index("| contestant")
    for told in (
        "nanoGPT abcdef",
        "commit fedcba",
        "Left out: start-up, nobody asked.",
        "transformers failed: ValueError: too tiny",
        "250.00 (250.00 to 250.00)",  # ms to the first
        "1,275 (850 to 2,550)",  # characters/s of batch 10
        "| 2.5 ",  # MB
        "| charscope / nanoGPT | 2.00 (1.00 to 3.00) | 2.00 (1.00 to 5.00) | 3.00 (2.00 to 4.00) |",
        "ids 9,936 to 10,064",
        "1.30 (1.10 to 1.50)",
        "| 50% ",
    ):
        assert told in text
    assert "import torch" not in text


def test_the_report_tells_the_start_up_if_it_was_timed() -> None:
    start_up = StartUp("4 layers", Spread(1.0, 0.9, 1.1), Spread(1.25, 1.2, 1.3), Spread(1.2, 1.1, 1.3), turns=7)
    text = markdown(replace(made_up_findings(), start_up=start_up))
    assert "1.25 (1.20 to 1.30)" in text
    assert "1.20 (1.10 to 1.30), 7 turns" in text


def test_without_a_single_sequence_no_share_is_told() -> None:
    found = made_up_findings()
    assert "not known without batch 1" in markdown(replace(found, contests=found.contests[1:]))


def test_the_protocol_tells_how_much_was_written() -> None:
    assert all(number in protocol(WHOLE) for number in ("255 ids", "1,000 of each", "300 with a batch", "10,000th"))


def test_the_report_has_a_panel_for_each_batch() -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra: pip install --editable '.[bench]'")
    found = made_up_findings()
    axes = plot(found).axes
    assert len(axes) == len(found.contests)
    assert all(panel.get_xscale() == "log" for panel in axes)


# The start of sample.py


def test_a_start_ends_with_the_first_byte() -> None:
    began = time.perf_counter()
    seconds = first_output_seconds(["-c", "import time; print('x', flush=True); time.sleep(2)"])
    assert 0 < seconds < time.perf_counter() - began - 1


@pytest.mark.parametrize(("code", "message"), [("pass", "exit code 0"), ("import sys; sys.exit('a\\nb')", "code 1: b")])
def test_a_process_that_says_nothing_or_fails_has_no_start(code: str, message: str) -> None:
    with pytest.raises(RunFailedError, match=message):
        first_output_seconds(["-c", code])


def test_the_first_turn_does_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    times = iter([100.0, 1.0, 2.0, 3.0, 2.0, 4.0])  # `import torch` and `sample.py` in turn
    asked = []

    def pretended(arguments: Sequence[str]) -> float:
        asked.append(arguments[-1])
        return next(times)

    file = tmp_path / "best.pt"
    monkeypatch.setattr(bench.sampling_alone, "first_output_seconds", pretended)
    monkeypatch.setattr(bench.sampling_alone, "find_checkpoint", Path)
    checkpoint = SimpleNamespace(model=new_decoder(TINY, PositionKind.rotary, CPU).config)
    monkeypatch.setattr(bench.sampling_alone, "load_checkpoint", lambda _: checkpoint)
    found = find_start_up(file, turns=2)
    assert (found.import_torch, found.sample) == (Spread(2.0, 2.0, 2.0), Spread(3.5, 3.0, 4.0))
    assert found.ratio == Spread(1.75, 1.5, 2.0)
    assert found.checkpoint == "1 layers, width 16, context 8"
    assert asked == ["import torch; print(flush=True)", "length=1"] * 3


# The command


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


def test_what_is_found_comes_back_from_json() -> None:
    content = json.loads(json.dumps(asdict(made_up_findings()), allow_nan=False))
    assert content["contests"][1]["results"][0]["ratios"]["nanoGPT"]["filling"]["highest"] == 5.0
    assert content["late"]["late"] == [9936, 10064]
    assert content["start_up"] is None


def test_a_contestant_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without matplotlib, too, there is a report.
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    peers = {
        "well": fake_nanogpt(tmp_path / "well"),
        "raises": fake_nanogpt(tmp_path / "raises", "raise RuntimeError('no more\\nof this')"),
        "dies late": fake_nanogpt(tmp_path / "dies", f"max_new_tokens == {WARM_UP} or os._exit(3)"),
        "stops short": fake_nanogpt(tmp_path / "short", "max_new_tokens //= 2"),
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
    contest = compete(PAIR, [Contestant("empty", partial(nanogpt, tmp_path))], CPU, (7, 12), rounds=1)
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
