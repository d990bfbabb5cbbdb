"""A TensorBoard tab that shows the attention of every head during training."""

from pathlib import Path


def show(run: str | Path, height: int = 1000) -> object:
    """The tab of a run's folder for a notebook to display, without a server; `height` in pixels. Raises ExportError."""
    from attention_tab.export import InlinePage, page_of  # here, as TensorBoard imports this package when it starts

    return InlinePage(page_of(Path(run)), height)
