"""The table of a sweep: its runs side by side, those that differ only in their seeds as one row."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from files import replacing
from terminal import relative

COLUMNS = (
    "runs",
    "validation loss, nats/char (lowest to highest)",
    "characters/s",
    "parameters",
)


@dataclass(frozen=True)
class Row:
    """Runs of the same settings."""

    settings: dict[str, Any]  # those that differ between rows
    losses: list[float]  # the best of each run, nats/char
    characters_per_second: float  # median
    parameters: int
    runs: list[dict[str, Any]]  # their summaries: the text, the machine and versions are in them

    def cells(self) -> list[str]:
        losses = f"{mean(self.losses):.4f}"
        if len(self.losses) > 1:
            losses += f" ({min(self.losses):.4f} to {max(self.losses):.4f})"
        numbers = str(len(self.losses)), losses, f"{self.characters_per_second:,.0f}", f"{self.parameters:,}"
        return [*map(str, self.settings.values()), *numbers]


def compare(folder: Path) -> list[Row]:
    """A row for each choice of settings, lowest mean loss first, from the summaries of the runs in a sweep's folder."""
    summaries = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*/summary.json"))]
    names = dict.fromkeys(name for summary in summaries for name in summary["settings"] if name != "seed")
    varied = [name for name in names if len({str(summary["settings"].get(name)) for summary in summaries}) > 1]
    varied = varied or [*names]  # a sweep that stopped early should show, too, what was tried
    groups: dict[str, list[dict[str, Any]]] = {}
    for summary in summaries:
        groups.setdefault(str([summary["settings"].get(name) for name in varied]), []).append(summary)
    rows = [_row(group, varied) for group in groups.values()]
    return sorted(rows, key=lambda row: mean(row.losses))


def _row(group: Sequence[dict[str, Any]], varied: Sequence[str]) -> Row:
    return Row(
        settings={name: group[0]["settings"].get(name) for name in varied},
        losses=[summary["best_validation_loss"] for summary in group],
        characters_per_second=median(summary["characters_per_second"] for summary in group),
        parameters=group[0]["parameters"],
        runs=list(group),
    )


def table(rows: Sequence[Row]) -> str:
    """Rows in Markdown."""
    return markdown_table([[*rows[0].settings, *COLUMNS], *(row.cells() for row in rows)])


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """Cells, those of the head first, in Markdown that reads as plain text too."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    aligned = (
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in (lines[0], rule, *lines[1:])
    )
    return "\n".join(f"| {' | '.join(line)} |" for line in aligned)


def save_comparison(rows: Sequence[Row], folder: Path) -> None:
    """Write `comparison.md` and `comparison.json` into the folder of the sweep."""
    content = json.dumps([vars(row) for row in rows], indent=2, ensure_ascii=False)
    for name, text in (("comparison.json", content), ("comparison.md", table(rows))):
        with replacing(folder / name) as stream:
            stream.write(text.encode() + b"\n")


def compare_runs(folder: Path) -> None:
    """Print the runs of a sweep side by side, if any finished, and write the table beside them."""
    if rows := compare(folder):
        save_comparison(rows, folder)
        file = relative(folder / "comparison.md")
        print(f"\n{table(rows)}\n\nwritten to {file}, with what it comes from in comparison.json")
