import json
from pathlib import Path
from typing import Any

import pytest

from training.comparison import compare, keep, table


def summary(loss: float, heads: str, seed: int, speed: float = 1000.0) -> dict[str, Any]:
    return {
        "settings": {"experiment": "laptop", "model.heads": heads, "seed": str(seed)},
        "best_validation_loss": loss,
        "characters_per_second": speed,
        "step_bytes": 2_000_000,
        "parameters": 1234,
    }


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two settings, three seeds each, and one run of a third."""
    summaries = [summary(2.0 + seed / 10, "1", seed, speed=1000.0 + seed) for seed in range(3)]
    summaries += [summary(1.0 + seed / 10, "2", seed, speed=500.0) for seed in range(3)]
    summaries += [summary(3.0, "4", seed=0)]
    folders = [tmp_path / str(number) for number in range(len(summaries))]
    for folder, content in zip(folders, summaries, strict=True):
        folder.mkdir()
        (folder / "summary.json").write_text(json.dumps(content))
    return folders


def test_runs_that_differ_in_their_seeds_alone_are_one_row_and_the_best_is_first(runs: list[Path]) -> None:
    rows = compare(runs)
    assert [row.settings for row in rows] == [{"model.heads": heads} for heads in "214"]
    assert [row.losses for row in rows] == [[1.0, 1.1, 1.2], [2.0, 2.1, 2.2], [3.0]]
    assert [row.characters_per_second for row in rows] == [500.0, 1001.0, 1000.0]


def test_the_table_says_how_far_seeds_are_apart(runs: list[Path]) -> None:
    heads, _, first, _, last = table(compare(runs)).splitlines()
    assert [head.strip() for head in heads.strip("|").split("|")][:2] == ["model.heads", "runs"]
    assert [cell.strip() for cell in first.strip("|").split("|")] == [
        "2",
        "3",
        "1.1000 (1.0000 to 1.2000)",
        "500",
        "2.0",
        "1,234",
    ]
    assert "| 3.0000  " in last
    assert len(heads) == len(first) == len(last)


def test_runs_that_differ_in_nothing_but_seeds_are_one_row(runs: list[Path]) -> None:
    (row,) = compare(runs[:3])
    assert row.settings == {}
    assert table([row]).startswith("| runs |")


def test_the_table_and_what_it_comes_from_are_kept(runs: list[Path], tmp_path: Path) -> None:
    rows = compare(runs)
    keep(rows, tmp_path)
    assert (tmp_path / "comparison.md").read_text() == table(rows) + "\n"
    kept = json.loads((tmp_path / "comparison.json").read_text())
    assert [len(row["runs"]) for row in kept] == [3, 3, 1]
    assert kept[0]["runs"][0] == json.loads((runs[3] / "summary.json").read_text())
