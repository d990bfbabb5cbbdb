"""A TensorBoard tab that shows the attention of every head during training."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attention_tab.export import InlinePage


def show(run: str | Path, height: int = 1000) -> "InlinePage":
    """The tab of a run's folder in a notebook, without a server; `height` in pixels.

    Raises ExportError, which is a ValueError, if there are no snapshots.
    """
    from attention_tab.export import InlinePage, page_of  # here, as TensorBoard imports this package when it starts

    return InlinePage(page_of(Path(run)), height)
