"""Texts and corpora for tests."""

from data.config import DataConfig
from data.corpus import Corpus
from data.encode import encode
from data.sources import find_text


def load_text(config: DataConfig) -> str:
    """All of the text that `config` names, in memory."""
    return "".join(find_text(config).pieces())


def split_text(text: str, config: DataConfig, context: int) -> Corpus:
    """The corpus of `text`."""
    return Corpus.of(encode(text, config.max_vocabulary), config, context)
