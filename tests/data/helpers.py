"""What tests of texts share."""

from data.config import DataConfig
from data.sources import find_text


def load_text(config: DataConfig) -> str:
    """All of the text that `config` names, in memory."""
    return "".join(find_text(config).pieces())
