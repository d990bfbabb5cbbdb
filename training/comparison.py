"""What a sweep found: its runs side by side, those that differ in their seeds alone as one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from files import replacing

MEGABYTE = 10**6
COLUMNS = (
    "runs",
    "validation loss, nats/char (lowest to highest)",
    "characters/s",
    "memory of a step, MB",
    "parameters",
)


@dataclass(frozen=True)
class Row:
    """Runs of the same settings."""

    settings: dict[str, Any]  # those that differ between rows
    losses: list[float]  # the best of each run, nats/char
    characters_per_second: float  # median
    step_bytes: int
    parameters: int
    runs: list[dict[str, Any]]  # their summaries: the text, the machine and versions are in them

    def cells(self) -> list[str]:
        losses = f"{mean(self.losses):.4f}"
        if len(self.losses) > 1:
            losses += f" ({min(self.losses):.4f} to {max(self.losses):.4f})"
        speed, memory = f"{self.characters_per_second:,.0f}", f"{self.step_bytes / MEGABYTE:,.1f}"
        return [*map(str, self.settings.values()), str(len(self.losses)), losses, speed, memory, f"{self.parameters:,}"]


def compare(runs: Sequence[Path]) -> list[Row]:
    """A row for each choice of settings, lowest mean loss first, from the runs' summaries."""
    summaries = [json.loads((run / "summary.json").read_text(encoding="utf-8")) for run in runs]
    names = [name for name in summaries[0]["settings"] if name != "seed"]
    varied = [name for name in names if len({str(summary["settings"][name]) for summary in summaries}) > 1]
    groups: dict[str, list[dict[str, Any]]] = {}
    for summary in summaries:
        groups.setdefault(str([summary["settings"][name] for name in varied]), []).append(summary)
    rows = [_row(group, varied) for group in groups.values()]
    return sorted(rows, key=lambda row: mean(row.losses))


def _row(group: Sequence[dict[str, Any]], varied: Sequence[str]) -> Row:
    return Row(
        settings={name: group[0]["settings"][name] for name in varied},
        losses=[summary["best_validation_loss"] for summary in group],
        characters_per_second=median(summary["characters_per_second"] for summary in group),
        step_bytes=max(summary["step_bytes"] for summary in group),
        parameters=group[0]["parameters"],
        runs=list(group),
    )


def table(rows: Sequence[Row]) -> str:
    """Markdown, aligned so that it reads as plain text too."""
    heads = [*rows[0].settings, *COLUMNS]
    lines = [heads, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    rule = ["-" * width for width in widths]
    aligned = (
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in (heads, rule, *lines[1:])
    )
    return "\n".join("| " + " | ".join(line) + " |" for line in aligned)


def keep(rows: Sequence[Row], folder: Path) -> None:
    """Write `comparison.md` and `comparison.json` into the folder of the sweep."""
    content = json.dumps([vars(row) for row in rows], indent=2, ensure_ascii=False)
    for name, text in (("comparison.json", content), ("comparison.md", table(rows))):
        with replacing(folder / name) as stream:
            stream.write(text.encode() + b"\n")
