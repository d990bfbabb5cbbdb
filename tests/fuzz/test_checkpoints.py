"""Checkpoints from strangers: refused in one line, or read; none crashes, hangs or takes more than it should."""

import io
import pickletools
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.config import AttentionKind, PositionKind, ScoringKind
from tests.fuzz.cases import cases
from tests.fuzz.checkpoints import check, content, isolated, saved, several
from tests.fuzz.damage import altered, damaged, like, plain
from tests.training.crafted import Record, archive
from training.checkpoint import Checkpoint

WHOLE = [saved(each) for each in several()]
RECORDS = [
    [Record(name, archive.read(name)) for name in archive.namelist()]
    for archive in map(ZipFile, map(io.BytesIO, WHOLE))
]
CONTENTS: list[Any] = [torch.load(io.BytesIO(blob), weights_only=True) for blob in WHOLE]
OPCODES = [operation.code.encode("latin-1") for operation in pickletools.opcodes]
KINDS = [
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.int64,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.complex64,
]
WORDS = [str(word) for kind in (AttentionKind, ScoringKind, PositionKind) for word in kind]
READ = [content(each) for each in several()]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each case is put. Reading has loaded by now what torch loads late, and not for each case anew."""
    file = tmp_path_factory.mktemp("checkpoints") / "strange.pt"
    for blob in WHOLE:
        file.write_bytes(blob)
        check(file, is_unchanged)
    return file


@st.composite
def tensors(draw: st.DrawFn, given: torch.Tensor) -> torch.Tensor:
    """Like another in shape and type, or not, from nothing to extremes, in any layout."""
    shape = draw(st.just(tuple(given.shape)) | st.lists(st.integers(0, 9), max_size=4).map(tuple))
    made = torch.full(shape, draw(st.sampled_from([0, 1, -1, 1e38, torch.nan, torch.inf])), dtype=torch.float64)
    made = made.to(draw(st.just(given.dtype) | st.sampled_from(KINDS)))
    match draw(st.sampled_from(["as it is", "as it is", "as it is", "expanded", "cut out", "sparse", "meta"])):
        case "expanded":
            return made[:1].expand(shape) if shape and shape[0] else made
        case "cut out":
            return made.expand(3, *shape).contiguous()[1]
        case "sparse":
            return made.to_sparse()
        case "meta":
            return made.to("meta")
    return made


def replacements(value: object) -> st.SearchStrategy[Any]:
    """What a checkpoint may hold in place of `value`, and what not."""
    same = tensors(value) if isinstance(value, torch.Tensor) else like(value)
    return st.one_of(same, same, same, st.sampled_from(WORDS), st.tuples(plain))


@st.composite
def rewritten(draw: st.DrawFn, pickled: bytes) -> bytes:
    """A pickle in which operations are lost, doubled, moved, or others come between."""
    places = [place for _, _, place in pickletools.genops(pickled)]
    operations = [pickled[place:end] for place, end in pairwise([*places, len(pickled)])]
    for _ in range(draw(st.integers(1, 3))):
        here, there = (draw(st.integers(0, len(operations) - 1)) for _ in range(2))
        match draw(st.sampled_from(["lose", "double", "swap", "move", "add"])):
            case "lose" if len(operations) > 1:
                del operations[here]
            case "double":
                operations.insert(there, operations[here])
            case "swap":
                operations[here], operations[there] = operations[there], operations[here]
            case "move":
                operations.insert(there, operations.pop(here))
            case "add":
                operations.insert(here, draw(st.sampled_from(OPCODES)) + draw(st.binary(max_size=8)))
    return b"".join(operations)


changes = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        "method": st.sampled_from([8, 12, 14, 99]),
        "flags": st.sampled_from([1, 8, 0x800, 0x808, 0xFFFF]),
        "attributes": st.sampled_from([0o120777 << 16, 0o40755 << 16, 0x10]),
        "place": st.integers(0, 2**14) | st.integers(0, 2**32 - 1),
        "size": st.integers(0, 2**14) | st.integers(0, 2**32 - 1),
    },
)


@st.composite
def repacked(draw: st.DrawFn) -> bytes:
    """An archive of the same records, but for some that are lost, doubled, renamed, damaged or not what they say."""
    records = [Record(**vars(each)) for each in draw(st.sampled_from(RECORDS))]
    for _ in range(draw(st.integers(1, 3))):
        here = draw(st.integers(0, len(records) - 1))
        other = draw(st.sampled_from(records))
        match draw(st.sampled_from(["lose", "double", "rename", "change", "damage", "order"])):
            case "lose" if len(records) > 1:
                del records[here]
            case "double":
                records.append(Record(**vars(records[here]) | draw(changes)))
            case "rename":
                records[here].name = other.name
            case "change":
                records[here] = Record(**vars(records[here]) | draw(changes))
            case "damage":
                records[here].content = draw(damaged(records[here].content, other.content))
            case "order":
                records = draw(st.permutations(records))
    return archive(records)


def is_unchanged(found: Checkpoint) -> None:
    assert content(found) in READ


@cases(1200)
@given(blob=damaged(*WHOLE) | st.binary())
def test_damage_is_found_or_changed_nothing(file: Path, blob: bytes) -> None:
    file.write_bytes(blob)
    isolated(lambda: check(file, is_unchanged))


@cases(1200)
@given(blob=repacked())
def test_an_archive_of_other_records_is_refused_or_works(file: Path, blob: bytes) -> None:
    file.write_bytes(blob)
    isolated(lambda: check(file))


@cases(1200)
@given(data=st.data())
def test_a_pickle_of_other_operations_is_refused_or_works(file: Path, data: st.DataObject) -> None:
    records = data.draw(st.sampled_from(RECORDS))
    pickled = data.draw(rewritten(next(each.content for each in records if each.name.endswith("data.pkl"))))
    others = [each for each in records if not each.name.endswith("data.pkl")]
    name = records[0].name.partition("/")[0] + "/data.pkl"
    file.write_bytes(archive([Record(name, pickled), *others]))
    isolated(lambda: check(file))


@cases(1500)
@given(data=st.data())
def test_a_content_of_other_values_is_refused_or_works(file: Path, data: st.DataObject) -> None:
    torch.save(data.draw(altered(data.draw(st.sampled_from(CONTENTS)), replacements)), file)
    isolated(lambda: check(file))
