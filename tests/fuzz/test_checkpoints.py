"""Checkpoints from strangers: refused in one line, or read; none crashes, hangs or takes more than it should."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from errors import UserError
from tests.fuzz.checkpoints import saved, several
from tests.fuzz.damage import altered, damaged
from tests.stress.compare import leaves
from training.checkpoint import Checkpoint, load_checkpoint

WHOLE = [saved(each) for each in several()]
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64]
SMALL_WEIGHT = 100  # logits of weights no larger are finite


VALUES = [dict(leaves(each)) for each in several()]


def check(file: Path) -> Checkpoint | None:
    """The checkpoint, whose decoder works; None if it is refused, in one line."""
    try:
        found = load_checkpoint(file)
    except UserError as error:
        reason = str(error)
    else:
        found.vocabulary.encode()  # what it writes can be saved as UTF-8
        logits = found.decoder()(torch.arange(min(8, found.model.context))[None] % len(found.vocabulary))
        assert logits.shape[-1] == len(found.vocabulary)
        assert logits.isfinite().all() or any(weight.abs().max() > SMALL_WEIGHT for weight in found.weights.values())
        return found
    assert "\n" not in reason
    assert "emory" not in reason  # allocated before it was refused
    return None


def split(blob: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, and the bytes of its tensors."""
    end = 8 + int.from_bytes(blob[:8], "little")
    return json.loads(blob[8:end]), blob[end:]


def unsealed(blob: bytes) -> tuple[Any, dict[str, torch.Tensor]]:
    """The JSON in its metadata, and its tensors."""
    return json.loads(split(blob)[0]["__metadata__"]["charscope"]), safetensors.torch.load(blob)


def sealed(content: Any, tensors: dict[str, torch.Tensor]) -> bytes:
    """A file with the right SHA-256, whatever is inside."""
    text = json.dumps(content)
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return safetensors.torch.save(tensors, {"charscope": text, "sha256": digest.hexdigest()})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of each example. What torch imports late is imported by then, outside the bounds of an example."""
    file = tmp_path_factory.mktemp("checkpoints") / "strange"
    for blob in WHOLE:
        for whole in (blob, sealed(*unsealed(blob))):
            file.write_bytes(whole)
            assert dict(leaves(check(file))) in VALUES
    return file


@given(blob=damaged(*WHOLE) | st.binary())
def test_damage_is_found_or_changed_nothing(file: Path, blob: bytes) -> None:
    file.write_bytes(blob)
    found = check(file)
    assert found is None or dict(leaves(found)) in VALUES


@st.composite
def replaced(draw: st.DrawFn, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`tensors`, some of them of other values, from zeros to infinity, and perhaps of another shape or dtype."""
    changed = {}
    for name in draw(st.lists(st.sampled_from(sorted(tensors)), max_size=3)):
        shape = draw(st.just(tuple(tensors[name].shape)) | st.lists(st.integers(0, 9), max_size=4).map(tuple))
        made = torch.full(shape, draw(st.sampled_from([0, 1, -1, 1e38, torch.nan, torch.inf])), dtype=torch.float64)
        changed[name] = made.to(draw(st.just(tensors[name].dtype) | st.sampled_from(DTYPES)))
    return tensors | changed


@given(data=st.data())
def test_a_well_sealed_lie_is_refused_or_works(file: Path, data: st.DataObject) -> None:
    content, tensors = unsealed(data.draw(st.sampled_from(WHOLE)))
    file.write_bytes(sealed(data.draw(st.just(content) | altered(content)), data.draw(replaced(tensors))))
    check(file)


@given(data=st.data())
def test_a_crafted_header_is_refused_or_works(file: Path, data: st.DataObject) -> None:
    header, tensors = split(data.draw(st.sampled_from(WHOLE)))
    head = json.dumps(data.draw(altered(header))).encode()
    file.write_bytes(len(head).to_bytes(8, "little") + head + tensors)
    check(file)


@given(length=st.integers(0, 2**64 - 1), header=st.binary(), data=st.binary())
@example(length=2**40, header=b"{}", data=b"")
@example(length=2, header=b"{}", data=b"")
@example(length=9, header=b'{"a":[[[[', data=b"")
def test_a_foreign_file_is_refused(file: Path, length: int, header: bytes, data: bytes) -> None:
    file.write_bytes(length.to_bytes(8, "little") + header + data)
    with pytest.raises(UserError):
        load_checkpoint(file)
