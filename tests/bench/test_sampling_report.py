import json
from collections.abc import Sequence
from dataclasses import asdict, replace

import pytest

from bench.sampling import WHOLE
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
from bench.throughput_report import Spread
from bench.workers import Ready


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


def test_the_share_of_the_limit_is_that_of_one_sequence() -> None:
    found = made_up_findings()
    assert found.share() == pytest.approx(0.5)  # 100 of 200 ids/s
    assert replace(found, contests=found.contests[1:]).share() is None


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


def test_the_report_has_a_panel_for_each_batch() -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra: pip install --editable '.[bench]'")
    found = made_up_findings()
    axes = plot(found).axes
    assert len(axes) == len(found.contests)
    assert all(panel.get_xscale() == "log" for panel in axes)


def test_what_is_found_comes_back_from_json() -> None:
    content = json.loads(json.dumps(asdict(made_up_findings()), allow_nan=False))
    assert content["contests"][1]["results"][0]["ratios"]["nanoGPT"]["filling"]["highest"] == 5.0
    assert content["late"]["late"] == [9936, 10064]
    assert content["start_up"] is None
