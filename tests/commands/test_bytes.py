"""Both commands with a model of bytes, trained on Cyrillic text and on bytes that are no UTF-8."""

import json
import math
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from attention_tab.format import decode, probe_tag
from tests.commands.helpers import call, sample

TEXT = "кот и код\r\n".encode() * 40 + b"\xef\xbb\xbf\xff\n" * 40
SMALL = ["runtime.device=cpu", "data.path=text.txt", "data.encoding=bytes", "model.layers=1", "model.width=32"]
SMALL += ["model.context=16", "training.steps=60", "training.learning_rate=1e-2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with such a text and a run that has learned it."""
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "text.txt").write_bytes(TEXT)
    done = call(*SMALL, "board.probe=кот", "hydra.run.dir=run", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


def written(folder: Path, *arguments: str) -> bytes:
    done = sample("checkpoint=run", "temperature=0", *arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.encode("utf-8", "surrogateescape")


def test_a_prompt_is_read_and_a_sample_written_byte_by_byte(trained: Path, tmp_path: Path) -> None:
    prompt = b"\xef\xbb\xbf" + "кот\r\n".encode() + b"\xff\xd0"
    (tmp_path / "prompt").write_bytes(prompt)
    exact = written(trained, f"prompt_file={tmp_path}/prompt", "length=14")
    assert exact.startswith(prompt)
    assert len(exact) == len(prompt) + 14 + len("\n")
    assert exact == written(trained, "prompt=" + prompt.decode("utf-8", "surrogateescape"), "length=14")
    assert written(trained, f"prompt_file={tmp_path}/prompt", "length=14", f"output={tmp_path}/out.txt") == b""
    assert (tmp_path / "out.txt").read_bytes() == exact


def test_json_holds_the_bytes_and_agrees_with_their_score(trained: Path, tmp_path: Path) -> None:
    written(trained, "length=15", f"output={tmp_path}/out.jsonl")
    record = json.loads((tmp_path / "out.jsonl").read_bytes())
    content = "кот и код".encode()[:15]
    assert (record["text"], record["bytes"]) == ("кот и ко\ufffd", content.hex())
    (tmp_path / "out").write_bytes(content)
    written(trained, f"prompt_file={tmp_path}/out", "score=true", f"output={tmp_path}/score.jsonl")
    score = json.loads((tmp_path / "score.jsonl").read_bytes())
    assert (score["text"], score["bytes"]) == (record["text"], record["bytes"])
    assert len(score["log_probabilities"]) == 15
    assert score["log_probabilities"] == pytest.approx(record["log_probabilities"], abs=1e-4)
    assert score["bits_per_byte"] == pytest.approx(-sum(score["log_probabilities"]) / math.log(2) / 15, abs=1e-5)


def test_scores_and_stops_are_of_bytes(trained: Path) -> None:
    head, _, *rows = written(trained, "prompt=кот", "score=true").decode().splitlines()
    assert head.endswith("nats/byte), 6 bytes")
    assert any(row.endswith(r"byte 3: к»\xd0«\xbeт") for row in rows)
    assert written(trained, "prompt=кот", "stop=код").decode() == "кот и \n"


def test_tensorboard_gets_text_decoded_tokens_as_bytes_and_bits_per_byte(trained: Path) -> None:
    event = EventAccumulator(str(trained / "run"), size_guidance={"tensors": 0}).Reload()
    assert {"bits_per_byte/training", "bits_per_byte/validation"} < {*event.Tags()["scalars"]}
    assert "кот" in event.Tensors("attention/probe_1/text_summary")[0].tensor_proto.string_val[0].decode()
    tokens = decode(event.Tensors(probe_tag("probe_1"))[-1].tensor_proto.string_val[0]).tokens
    assert "".join(tokens).encode("utf-8", "surrogateescape") == "кот".encode()
