"""Prompts, stops and choices for sample.py: a text, or one line; an output file is complete or not there."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sample
from conf.schema import LARGEST_SEED, SampleConfig
from data.config import Unknown
from data.vocabulary import Vocabulary
from errors import UserError
from tests.fuzz.checkpoints import several
from tests.fuzz.damage import any_text
from training.config import Device, Precision, SamplingRuntimeConfig
from training.run import Job

MODELS = several()
JOB = Job(Path(), [], {})

tiny = st.sampled_from([5e-324, 1e-45, 1e-38, 1e-8])
settings: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "unknown": st.sampled_from(Unknown),
        "length": st.integers(1, 30),
        "runtime": st.sampled_from([Precision.auto, Precision.fp32, Precision.bf16]).map(
            lambda precision: SamplingRuntimeConfig(device=Device.cpu, precision=precision)
        ),
    },
    optional={
        "count": st.integers(1, 5),
        "temperature": st.floats(0, allow_infinity=False) | tiny | st.floats(0, 2),
        "top_k": st.integers(1, 9) | st.integers(1, 10**30),
        "top_p": st.floats(0, 1, exclude_min=True) | tiny,
        "min_p": st.floats(0, 1, exclude_min=True) | tiny,
        "seed": st.integers(0, LARGEST_SEED) | st.integers(LARGEST_SEED - 3, LARGEST_SEED),
        "score": st.booleans(),
    },
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for number, model in enumerate(MODELS):
        model.save(folder / f"{number}")
    return folder


def texts(model: int) -> st.SearchStrategy[str]:
    """Of the model's vocabulary, and sometimes of any characters."""
    known = st.text(Vocabulary(MODELS[model].vocabulary, MODELS[model].is_bytes).tokens, min_size=1)
    return st.one_of(known, known.map(lambda text: text[:4]), known.map(lambda text: text * 99), known, any_text)


@st.composite
def configs(draw: st.DrawFn, models: Path, folder: Path) -> SampleConfig:
    """A prompt typed, in a file, or none; text or JSON to a file or to the terminal."""
    number = draw(st.integers(0, len(MODELS) - 1))
    given = draw(settings) | {"checkpoint": str(models / f"{number}")}
    match draw(st.sampled_from(["prompt", "prompt", "prompt", "file", "file", "bytes", "none"])):
        case "prompt":
            given["prompt"] = draw(texts(number))
        case "file":
            (folder / "prompt.txt").write_bytes(
                draw(texts(number)).encode("utf-8", "surrogateescape" if MODELS[number].is_bytes else "surrogatepass")
            )
            given["prompt_file"] = str(folder / "prompt.txt")
        case "bytes":
            (folder / "prompt.txt").write_bytes(draw(st.binary()))
            given["prompt_file"] = str(folder / "prompt.txt")
    if output := draw(st.sampled_from(["", "out.txt", "out.jsonl"])):
        given["output"] = str(folder / output)
    return SampleConfig(**given, stop=draw(st.lists(texts(number), max_size=3)))


def check_json(lines: list[str], config: SampleConfig) -> None:
    """One record of the score, or one for each sample."""
    records = [json.loads(line) for line in lines]
    assert len(records) == (1 if config.score else config.count)
    for record in records:
        length = len(bytes.fromhex(record["bytes"]) if "bytes" in record else record["text"])
        assert len(record["log_probabilities"]) == length
        assert all(nats < 1e-6 for nats in record["log_probabilities"])
        assert config.score or length <= (config.length or 0)
        assert config.score or not any(stop in record["text"] for stop in config.stop)


@given(data=st.data())
def test_what_is_asked_for_is_written_whole_or_refused(models: Path, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        config = data.draw(configs(models, Path(folder)))
        if config.problems():
            return
        raw, mistake = io.BytesIO(), False
        with redirect_stdout(io.TextIOWrapper(raw, "utf-8", "backslashreplace")) as out, redirect_stderr(io.StringIO()):
            try:
                sample.main.main(config, JOB)
            except UserError:
                mistake = True
            out.flush()
        written = raw.getvalue()
        if config.output is not None:
            assert written == b""
            assert Path(config.output).exists() != mistake
            written = b"" if mistake else Path(config.output).read_bytes()
        if mistake:
            assert written == b""
        elif config.output and config.output.endswith(".jsonl"):
            check_json(written.decode().removesuffix("\n").split("\n"), config)
        else:
            assert written.endswith(b"\n")
