import math

from bench.racers import NANOGPT, PRESET, SPRINT
from bench.standings import finite, median_rows, pair_rows, paired, run_rows, within_rows
from tests.bench.helpers import made_up

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
