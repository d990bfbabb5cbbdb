"""Texts of all kinds: refused, or every character is in exactly one of the splits."""

import codecs
import time
from contextlib import suppress
from glob import escape
from io import BytesIO, TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.batches import NO_TARGET, Batch, Batches
from data.config import DataConfig, LongLines, Source, Unit
from data.lines import fingerprints
from data.vocabulary import Vocabulary
from errors import UserError
from tests.data.helpers import load_text, split_text

ODD = ["", "\n", "\r\n", "\r", "ab\n", "\ufeff", "\0", "\x85", "\u2028", "é", "e\u0301", "😀", "\U0010ffff", 70 * "a"]
STDLIB = Source.python_stdlib

characters = st.characters(exclude_categories=["Cs"])
texts = st.one_of(
    st.text(characters),
    st.text("ab\r\n", min_size=20),
    st.lists(st.sampled_from(ODD)).map("".join),
    st.builds(str.__mul__, st.text(characters, max_size=5) | st.sampled_from(ODD), st.integers(1, 500)),
)
contents = st.one_of(texts.map(str.encode), texts.map(lambda text: text.encode("utf-16")), st.binary())
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=9)
folders = st.dictionaries(names.filter(lambda name: name not in (".", "..", "below")), contents, max_size=4)
configs = st.builds(
    DataConfig,
    source=st.just(STDLIB),
    unit=st.sampled_from(Unit),
    long_lines=st.sampled_from(LongLines),
    validation_fraction=st.sampled_from([0.1, 0.5]) | st.floats(0, 1, exclude_min=True, exclude_max=True),
    test_fraction=st.sampled_from([0.0, 0.2]) | st.floats(0, 1, exclude_max=True),
    max_vocabulary=st.integers(2, 40) | st.just(20_000),
)


def codec(content: bytes) -> str:
    """Python's own name for the encoding that a byte order mark tells."""
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    return "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def joined(files: dict[str, bytes]) -> str | None:
    """The visible files in sorted order, each ending a line where another follows; None if that is no text."""
    found = [files[name] for name in sorted(files) if not any(part.startswith(".") for part in name.split("/"))]
    try:
        decoded = [TextIOWrapper(BytesIO(content), codec(content)).read() for content in found]
    except UnicodeDecodeError:
        return None
    if not found or "\0" in "".join(decoded):
        return None
    return "".join(text if text.endswith("\n") else text + "\n" for text in decoded[:-1]) + decoded[-1]


def read_or_refused(path: str) -> str | None:
    try:
        return load_text(DataConfig(source=STDLIB, path=path))
    except UserError:
        return None


@given(folders, folders)
def test_files_are_read_to_the_last_character_or_refused(here: dict[str, bytes], below: dict[str, bytes]) -> None:
    files = here | {f"below/{name}": content for name, content in below.items()}
    with TemporaryDirectory() as folder:
        Path(folder, "below").mkdir()
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        wanted = {folder: joined(files), f"{folder}/**": joined(files), f"{escape(folder)}/*": joined(here)}
        # A file by its own name, even if that reads like a pattern.
        wanted |= {str(Path(folder, name)): joined({"visible": files[name]}) for name in files}
        assert {path: read_or_refused(path) for path in wanted} == wanted


def lines_of(text: str, config: DataConfig, context: int) -> list[str]:
    lines = text.split("\n")
    if config.long_lines is LongLines.cut:
        lines = [line[:context] for line in lines]
    return [line for line in lines if line and len(line) < context + (config.long_lines is LongLines.cut)]


def read(batch: Batch, vocabulary: Vocabulary) -> list[str]:
    """Each sequence and what comes after it, if that is to be predicted, as text."""
    found = []
    for inputs, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        predicted = [target for target in targets if target != NO_TARGET]
        assert inputs[1 : len(predicted)] == predicted[:-1]
        assert set(inputs + predicted) <= set(range(len(vocabulary)))
        found.append(vocabulary.decode([inputs[0], *predicted]))
    assert batch.characters == sum(map(len, found)) - len(found)
    return found


@given(texts, configs, st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**63 - 2))
def test_a_text_is_refused_or_used_to_the_last_character(
    text: str, config: DataConfig, context: int, batch_size: int, seed: int
) -> None:
    try:
        corpus = split_text(text, config, context)
    except UserError:
        return
    vocabulary = corpus.vocabulary
    assert corpus.validation is not None
    training, validation = vocabulary.decode(corpus.training.ids), vocabulary.decode(corpus.validation.ids)
    batches = Batches(corpus.training, batch_size, seed)
    trained = [each for step in range(3) for each in read(batches(step), vocabulary)]
    evaluated = [each for batch in corpus.validation.sequential(batch_size) for each in read(batch, vocabulary)]
    assert len(trained) == 3 * batch_size
    if config.unit is Unit.window:
        test = vocabulary.decode(corpus.test.ids) if corpus.test else validation[-1]
        assert training[:-1] + validation[:-1] + test == text
        assert all(each in training + training for each in trained)
        assert "".join(each[1:] for each in evaluated) == validation[1:]
    else:
        known, others = training[1:-1].split("\n"), validation[1:-1].split("\n")
        kept = vocabulary.decode(corpus.test.ids)[1:-1].split("\n") if corpus.test else []
        assert not set(kept) & {*known, *others}
        assert sorted(known + others + kept) == sorted(lines_of(text, config, context))
        assert not set(known) & set(others)
        assert corpus.training_lines is not None
        assert corpus.training_lines.tolist() == np.unique(fingerprints(known)).tolist()
        assert {each.strip("\n") for each in trained} <= set(known)
        assert sorted(each[1:] for each in evaluated) == sorted((line + "\n")[:context] for line in others)


@pytest.mark.parametrize("unit", Unit)
def test_a_line_of_50_megabytes_is_quick(unit: Unit, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_bytes(b"ab" * 25_000_000)
    config, start = DataConfig(source=STDLIB, unit=unit, path=str(tmp_path / "long.txt")), time.perf_counter()
    with suppress(UserError):
        assert len(split_text(load_text(config), config, context=8).training.ids) > 0
    assert time.perf_counter() - start < 20  # on a busy machine
