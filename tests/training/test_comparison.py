import json
from pathlib import Path
from typing import Any

import pytest

from training.comparison import compare, compare_runs, table


def summary(loss: float, heads: str, seed: int, speed: float = 1000.0) -> dict[str, Any]:
    return {
        "settings": {"experiment": "laptop", "model.heads": heads, "seed": str(seed)},
        "best_validation_loss": loss,
        "characters_per_second": speed,
        "parameters": 1234,
    }


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """The folder of a sweep: two settings, three seeds each, and one run of a third."""
    summaries = [summary(2.0 + seed / 10, "1", seed, speed=1000.0 + seed) for seed in range(3)]
    summaries += [summary(1.0 + seed / 10, "2", seed, speed=500.0) for seed in range(3)]
    summaries += [summary(3.0, "4", seed=0)]
    for number, content in enumerate(summaries):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "summary.json").write_text(json.dumps(content))
    return tmp_path


def test_runs_that_differ_in_their_seeds_alone_are_one_row_and_the_best_is_first(sweep: Path) -> None:
    rows = compare(sweep)
    assert [row.settings for row in rows] == [{"model.heads": heads} for heads in "214"]
    assert [row.losses for row in rows] == [[1.0, 1.1, 1.2], [2.0, 2.1, 2.2], [3.0]]
    assert [row.characters_per_second for row in rows] == [500.0, 1001.0, 1000.0]


def test_the_table_says_how_far_seeds_are_apart(sweep: Path) -> None:
    heads, _, first, _, last = table(compare(sweep)).splitlines()
    assert [head.strip() for head in heads.strip("|").split("|")][:2] == ["model.heads", "runs"]
    assert [cell.strip() for cell in first.split("|")[1:-1]] == ["2", "3", "1.1000 (1.0000 to 1.2000)", "500", "1,234"]
    assert "| 3.0000  " in last
    assert len(heads) == len(first) == len(last)


def test_runs_without_validation_are_last_and_have_no_loss(sweep: Path) -> None:
    other = summary(0.0, "8", 0) | {"best_validation_loss": None}
    (sweep / "0" / "summary.json").write_text(json.dumps(other))
    assert compare(sweep)[-1].losses == []
    assert [cell.strip() for cell in table(compare(sweep)).splitlines()[-1].split("|")[1:4]] == ["8", "1", "-"]


def test_runs_that_differ_in_nothing_but_seeds_are_one_row(sweep: Path) -> None:
    for number in range(3, 7):
        (sweep / str(number) / "summary.json").unlink()
    (row,) = compare(sweep)
    assert row.settings == {"experiment": "laptop", "model.heads": "1"}
    assert row.losses == [2.0, 2.1, 2.2]


def test_the_table_and_what_it_comes_from_are_kept(sweep: Path) -> None:
    compare_runs(sweep)
    assert (sweep / "comparison.md").read_text() == table(compare(sweep)) + "\n"
    kept = json.loads((sweep / "comparison.json").read_text())
    assert [len(row["runs"]) for row in kept] == [3, 3, 1]
    assert kept[0]["runs"][0] == json.loads((sweep / "3" / "summary.json").read_text())


def test_a_setting_that_some_runs_lack_is_none_of_theirs(sweep: Path) -> None:
    other = summary(0.5, "1", 0)
    other["settings"]["model.width"] = "8"
    (sweep / "0" / "summary.json").write_text(json.dumps(other))
    assert compare(sweep)[0].settings == {"model.heads": "1", "model.width": "8"}
    assert {row.settings["model.width"] for row in compare(sweep)[1:]} == {None}
