"""The table of a sweep: its runs side by side, those that differ only in their seeds as one row."""

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from files import replacing
from terminal import relative

COLUMNS = "runs", "validation loss, nats/char (lowest to highest)", "characters/s", "parameters"


@dataclass(frozen=True)
class Row:
    """Runs of the same settings."""

    settings: dict[str, Any]  # those that differ between rows
    losses: list[float]  # the best of each run, nats/char; none without validation
    characters_per_second: float  # median
    parameters: int
    runs: list[dict[str, Any]]  # their summaries: the text, the machine and versions are in them


def compare(folder: Path) -> list[Row]:
    """A row for each choice of settings, lowest mean loss first, from the summaries of the runs in a sweep's folder."""
    summaries = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.rglob("summary.json"))]
    names = dict.fromkeys(name for summary in summaries for name in summary["settings"] if name != "seed")
    varied = [name for name in names if len({str(summary["settings"].get(name)) for summary in summaries}) > 1]
    varied = varied or [*names]  # a sweep that stopped early should show, too, what was tried
    groups = defaultdict(list)
    for summary in summaries:
        groups[str([summary["settings"].get(name) for name in varied])].append(summary)
    rows = [
        Row(
            settings={name: runs[0]["settings"].get(name) for name in varied},
            losses=[loss for run in runs if (loss := run["best_validation_loss"]) is not None],
            characters_per_second=median(run["characters_per_second"] for run in runs),
            parameters=runs[0]["parameters"],
            runs=runs,
        )
        for runs in groups.values()
    ]
    return sorted(rows, key=lambda row: mean(row.losses or [math.inf]))


def table(rows: Sequence[Row]) -> str:
    """Rows in Markdown."""
    lines = [[*rows[0].settings, *COLUMNS]]
    for row in rows:
        loss = f"{mean(row.losses):.4f}" if row.losses else "-"
        if len(row.losses) > 1:
            loss += f" ({min(row.losses):.4f} to {max(row.losses):.4f})"
        numbers = str(len(row.runs)), loss, f"{row.characters_per_second:,.0f}", f"{row.parameters:,}"
        lines.append([*map(str, row.settings.values()), *numbers])
    return markdown_table(lines)


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """Cells, those of the head first, in Markdown that reads as plain text too."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    head, *rows = [" | ".join(map(str.ljust, line, widths)) for line in lines]
    rule = " | ".join("-" * width for width in widths)
    return "\n".join(f"| {line} |" for line in (head, rule, *rows))


def compare_runs(folder: Path) -> None:
    """Print the runs of a sweep side by side, if any finished; write `comparison.md` and `comparison.json` there."""
    if not (rows := compare(folder)):
        return
    content = json.dumps([vars(row) for row in rows], indent=2, ensure_ascii=False)
    for name, text in (("comparison.json", content), ("comparison.md", table(rows))):
        with replacing(folder / name) as stream:
            stream.write(text.encode() + b"\n")
    file = relative(folder / "comparison.md")
    print(f"\n{table(rows)}\n\nwritten to {file}, with what it comes from in comparison.json")
