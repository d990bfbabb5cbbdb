"""How what was measured is told and kept, the same for every command: JSON, Markdown and a picture."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from files import replacing
from training.comparison import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # measuring does without it

# Of lines in a plot, each told from the others by colour (Okabe and Ito 2008) and marker.
STYLES = (
    *(("#0072B2", "o"), ("#E69F00", "s"), ("#D55E00", "^"), ("#009E73", "D")),
    *(("#CC79A7", "v"), ("#56B4E9", "P"), ("#000000", "X")),
)
Row = dict[str, object]  # of a table, by the names of its columns


def where(machine: Mapping[str, str | int], device: str) -> str:
    """What `training.device.machine` found, in a line. A GPU does not care for the threads of the CPU."""
    threads = "" if device == "cuda" else f", {machine['threads']} threads"
    return f"{machine['hardware']}{threads}, torch {machine['torch']}, {machine['date']}"


def two_decimals(_: str, cell: object) -> str:
    return f"{cell:z.2f}" if isinstance(cell, float) else str(cell)


def table(rows: Sequence[Mapping[str, object]], shown: Callable[[str, object], str] = two_decimals) -> str:
    """Rows of the same keys in Markdown. `shown` says how a cell is written, from the name of its column and itself."""
    return markdown_table([[*rows[0]], *([shown(name, cell) for name, cell in row.items()] for row in rows)])


def keep(
    folder: Path, name: str, findings: Mapping[str, Any], text: str, plot: "Callable[[], Figure] | None" = None
) -> None:
    """Print `text`, and write NAME.json, NAME.md and, where a plot is given and matplotlib is there, NAME.png."""
    print(text)
    content = json.dumps(findings, indent=2, allow_nan=False) + "\n"
    for file, written in (f"{name}.json", content), (f"{name}.md", text):
        with replacing(folder / file) as stream:
            stream.write(written.encode())
    if plot:
        try:
            figure = plot()
        except ModuleNotFoundError:
            print("no plot: it needs matplotlib, pip install --constraint constraints.txt --editable '.[bench]'")
        else:
            with replacing(folder / f"{name}.png") as stream:
                figure.savefig(stream, format="png", dpi=100)
    print(f"kept in {folder}")
