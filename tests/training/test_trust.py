"""A file that claims to be a checkpoint can do nothing, and an error is one line."""

import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from errors import UserError
from tests.conftest import ROOT
from tests.training.helpers import CHARACTERS, decoder
from training.checkpoint import ADDED, CONTENT, DIGEST, FORMAT, Checkpoint, _digest, load_checkpoint
from training.run_folder import LAST
from training.state import TrainingState

BILLION = 10**9


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A checkpoint as training leaves it."""
    model = decoder(position="learned", layers=1, width=4)
    Checkpoint(
        model=model.config,
        vocabulary=CHARACTERS,
        weights=model.state_dict(),
        state=TrainingState(step=40, losses=[1.5, None]),
        corpus_sha256="0" * 64,
        training_lines=torch.arange(3),
        run={"config": {"seed": 0}},
        optimizer_state={f"adamw.exp_avg.{name}": torch.ones_like(w) for name, w in model.state_dict().items()},
        scaler={"scale": 4.0},
    ).save(tmp_path / LAST)
    return tmp_path / LAST


def parts(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The JSON and the tensors of a checkpoint."""
    with safetensors.safe_open(file, framework="pt") as opened:
        return json.loads(opened.metadata()[CONTENT]), {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118


def changed(
    file: Path, text: str | None = None, tensors: dict[str, Tensor | None] | None = None, **content: Any
) -> Path:
    """A file beside `file` that differs in this, and whose digest is right. None removes."""
    values, stored = parts(file)
    whole = {name: tensor for name, tensor in (stored | (tensors or {})).items() if tensor is not None}
    text = json.dumps({**values, **content}) if text is None else text
    other = file.with_name("changed.safetensors")
    other.write_bytes(safetensors.torch.save(whole, {CONTENT: text, DIGEST: _digest(text, whole)}))
    return other


def refusal(file: Path) -> str:
    """The error that the user reads, in one line."""
    with pytest.raises(UserError) as error:
        load_checkpoint(file)
    message = str(error.value)
    assert message.startswith("checkpoint: expected one of this program's in ")
    assert message.isprintable()
    assert file.name in message
    assert len(message) < 500
    return message


def test_what_was_saved_is_what_is_loaded(file: Path) -> None:
    checkpoint = load_checkpoint(changed(file))  # a file that is changed in nothing is accepted
    assert checkpoint.state == TrainingState(step=40, losses=[1.5, None])
    assert (checkpoint.run, checkpoint.scaler) == ({"config": {"seed": 0}}, {"scale": 4.0})
    assert checkpoint.vocabulary == CHARACTERS
    assert checkpoint.training_lines is not None
    assert checkpoint.training_lines.tolist() == [0, 1, 2]
    assert checkpoint.optimizer_state["adamw.exp_avg.position.table"].eq(1).all()
    assert checkpoint.decoder()(torch.arange(8)[None]).shape == (1, 8, 8)


def test_a_flipped_bit_anywhere_is_found(file: Path) -> None:
    whole = file.read_bytes()
    for i in (*range(8), *range(8, len(whole), 61), len(whole) - 1):
        file.write_bytes(whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :])
        refusal(file)


def test_part_of_a_file_and_files_of_another_kind_are_refused(file: Path) -> None:
    whole = file.read_bytes()
    parted = (whole[:length] for length in (0, 1, 8, 100, len(whole) // 2, len(whole) - 1))
    others = b"to be, or not to be", safetensors.torch.save({"x": torch.ones(2)}, {"format": "pt"})
    for content in (*parted, whole + b"\0", *others):
        file.write_bytes(content)
        refusal(file)
    refusal(file.parent)
    os.mkfifo(file.with_name("pipe"))
    assert "a folder or a device" in refusal(file.with_name("pipe"))
    with pytest.raises(UserError, match="cannot read"):
        load_checkpoint(file.with_name("missing"))


@pytest.mark.parametrize("found", [FORMAT - 1, FORMAT + 1, 10**15, None, "6", [6], 0.5])
def test_another_format_is_refused_and_a_newer_one_is_said_to_be(file: Path, found: Any) -> None:
    newer = isinstance(found, int) and found > FORMAT
    assert ("a newer version wrote it" in refusal(changed(file, format=found))) == newer


def test_a_file_from_before_a_field_of_the_model_is_read_as_what_it_was(file: Path) -> None:
    values, _ = parts(file)
    older = {name: value for name, value in values["model"].items() if name not in ADDED}
    assert load_checkpoint(changed(file, model=older)).model == load_checkpoint(file).model
    refusal(changed(file, model=older | {"token_shift": True}))  # the tensors say no
    del older["bias"]  # every file has it
    refusal(changed(file, model=older))


WRONG: list[Any] = [None, 1, 1.5, True, "x", [], [1], {}, {"x": "1"}, -1, 2**64]
RIGHT: dict[str, list[Any]] = {"corpus_sha256": ["x"], "run": [{}, {"x": "1"}], "scaler": [{}]}


@pytest.mark.parametrize("name", ["model", "vocabulary", "state", "corpus_sha256", "run", "scaler"])
def test_a_value_of_a_wrong_type_is_refused_in_every_field(file: Path, name: str) -> None:
    for wrong in (each for each in WRONG if each not in RIGHT.get(name, [])):
        refusal(changed(file, **{name: wrong}))
    values, _ = parts(file)
    refusal(changed(file, json.dumps({other: value for other, value in values.items() if other != name})))


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        *(("model", each) for each in ({"layers": -1}, {"layers": 2.5}, {"layers": None}, {"bias": "x"}, {"more": 1})),
        *(("state", each) for each in ({"step": -1}, {"losses": [["x"]]}, {"seconds": None}, {"skipped": 2**64})),
    ],
)
def test_a_model_or_state_that_no_run_has_is_refused(file: Path, part: str, wrong: dict[str, Any]) -> None:
    refusal(changed(file, **{part: parts(file)[0][part] | wrong}))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": NaN}', '{"format": 1e999}', "[" * 10**5, "\x1b[2J"])
def test_text_that_is_no_strict_json_object_is_refused(file: Path, text: str) -> None:
    refusal(changed(file, text))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "1" * 5000])
def test_numbers_that_no_run_has_are_refused(file: Path, value: str) -> None:
    text = json.dumps(parts(file)[0])
    assert '"seconds": 0.0' in text
    refusal(changed(file, text.replace('"seconds": 0.0', f'"seconds": {value}')))
    refusal(changed(file, text.replace('"scale": 4.0', f'"scale": {value}')))


def test_names_from_a_file_are_never_printed_raw(file: Path) -> None:
    refusal(changed(file, **{"\x1b[2J\n" + "x" * 10**4: 1}))  # type: ignore[arg-type]
    refusal(changed(file, vocabulary="\x1b[2J"))
    refusal(changed(file, state={"\x1b[2J": 1}))
    refusal(changed(file, tensors={"model.\x1b[2J\n": torch.ones(2)}))


def test_a_vocabulary_that_is_not_that_of_the_weights_is_refused(file: Path) -> None:
    many = "".join(map(chr, range(0x80, 0x11000)))
    for wrong in ("", "abcdefg\ud800", "ba", "aa", CHARACTERS + "h", CHARACTERS[1:], many):
        refusal(changed(file, vocabulary=wrong))
    refusal(changed(file, vocabulary=CHARACTERS[1:] + "\u0100", run={"config": {"data": {"encoding": "bytes"}}}))


def test_tensors_that_are_not_those_of_the_model_are_refused(file: Path) -> None:
    for name, tensor in parts(file)[1].items():
        for dtype in (torch.float64, torch.bfloat16, torch.int32, torch.bool):
            refusal(changed(file, tensors={name: tensor.to(dtype)}))
        refusal(changed(file, tensors={name: torch.ones((), dtype=tensor.dtype)}))
        if name != "training_lines":
            refusal(changed(file, tensors={name: tensor[1:].clone()}))
    refusal(changed(file, tensors={"model.embedding.weight": None}))
    for more in ("more", "model.more", "optimizer.adamw.exp_avg.more", "optimizer.sgd.exp_avg.embedding.weight"):
        refusal(changed(file, tensors={more: torch.ones(8, 4)}))


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(file: Path, odd: float) -> None:
    weight = parts(file)[1]["model.output.weight"]
    weight[0, 0] = odd
    assert "not all finite" in refusal(changed(file, tensors={"model.output.weight": weight}))


def header(entries: object, size: int | None = None, content: bytes = b"") -> bytes:
    written = json.dumps(entries).encode()
    return struct.pack("<Q", len(written) if size is None else size) + written + content


@pytest.mark.parametrize(
    "content",
    [
        header({}, size=2**62),
        struct.pack("<Q", 40 * 10**6) + b"{" + b" " * (40 * 10**6 - 1),
        header([]),
        header({}),
        header({"x": {"dtype": "F32", "shape": [25 * 10**9], "data_offsets": [0, 10**11]}}),
        header({"x": {"dtype": "F32", "shape": [25 * 10**9], "data_offsets": [0, 12]}}, content=bytes(12)),
        header({"x": {"dtype": "F4", "shape": [24], "data_offsets": [0, 12]}}, content=bytes(12)),
    ],
)
def test_headers_that_claim_what_is_not_there_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "made.safetensors").write_bytes(content)
    began = time.process_time()
    refusal(tmp_path / "made.safetensors")
    assert time.process_time() - began < 5


def test_a_model_that_is_larger_than_its_weights_is_refused_and_takes_no_memory(file: Path) -> None:
    model = parts(file)[0]["model"]
    claims: list[dict[str, Any]] = [
        *({name: BILLION} for name in ("layers", "width", "context", "heads", "feed_forward")),
        *({"context": BILLION, "position": position} for position in ("rotary", "sinusoidal", "none")),
        *({"layers": BILLION, "width": BILLION, "context": BILLION}, {"width": 2**62}, {"context": 2**62}),
    ]
    for i, claim in enumerate(claims):
        changed(file, model=model | claim).rename(file.with_name(f"claim_{i}.safetensors"))
    # Rotary tables for each of these positions, in every layer, which no weights in the file vouch for.
    small = decoder(layers=50, width=2, heads=1, position="rotary")
    tensors: dict[str, Tensor | None] = dict.fromkeys(parts(file)[1])
    tensors |= {f"model.{name}": weight for name, weight in small.state_dict().items()}
    claim = model | {"layers": 50, "width": 2, "heads": 1, "position": "rotary", "context": 2**28}
    changed(file, tensors=tensors, model=claim).rename(file.with_name("tables.safetensors"))
    script = f"""
import resource
from pathlib import Path
from errors import UserError
from training.checkpoint import load_checkpoint
load_checkpoint(Path({str(file)!r})).decoder()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for file in sorted(Path({str(file.parent)!r}).glob("[ct]*.safetensors")):
    try:
        load_checkpoint(file)
        print("loaded")
    except UserError:
        print("refused")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    *refusals, grown = done.stdout.split()
    assert refusals == ["refused"] * (len(claims) + 1)
    assert int(grown) < 200  # MB
