"""Files such as torch.save does not write them, and what is to become of them."""

import io
import pickle
import struct
import sys
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from training.archive import read_archive

HUGE = 25 * 10**9  # numbers, of 100 GB


@dataclass
class Record:
    """Of an archive, with everything that it says of itself."""

    name: str
    content: bytes
    method: int = 0  # of compression
    flags: int = 0
    attributes: int = 0
    place: int | None = None  # as the directory has it, if not where it is
    size: int | None = None


def archive(records: list[Record], before: bytes = b"", comment: bytes = b"") -> bytes:
    """As torch.save writes one, but for what `records` do not do."""
    body, directory = before, b""
    for each in records:
        deflated = zlib.compress(each.content, wbits=-15) if each.method == 8 else each.content
        name, size = each.name.encode(), len(each.content) if each.size is None else each.size
        place = len(body) if each.place is None else each.place
        sizes = zlib.crc32(each.content), len(deflated) if each.size is None else each.size, size
        body += struct.pack("<4s5H3L2H", b"PK\3\4", 20, each.flags, each.method, 0, 0, *sizes, len(name), 0)
        body += name + deflated
        made_by = b"PK\1\2", 0, 3, 20, 0, each.flags, each.method, 0, 0
        directory += (
            struct.pack("<4s4B4H3L5H2L", *made_by, *sizes, len(name), 0, 0, 0, 0, each.attributes, place) + name
        )
    end = len(records), len(records), len(directory), len(body)
    return (
        body
        + directory
        + struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, *end)
        + struct.pack("<4sLQL", b"PK\6\7", 0, len(body) + len(directory), 1)
        + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *(min(each, 65535) for each in end[:2]), *end[2:], len(comment))
        + comment
    )


ASIDE = Record("a/byteorder", sys.byteorder.encode()), Record("a/version", b"3\n")


def records(pickled: bytes, *numbers: bytes) -> list[Record]:
    described = [Record("a/data.pkl", pickled), *ASIDE]
    return described + [Record(f"a/data/{i}", content) for i, content in enumerate(numbers)]


@dataclass
class Stored:
    """Stands for the numbers in a record."""

    count: object = 6
    kind: object = torch.FloatStorage
    number: object = "0"
    device: object = "cpu"


class Call:
    """When a pickle that holds one is read by pickle, the call is made."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def tensor(size: object, stride: object, offset: object = 0, of: Stored | None = None, *more: object) -> Call:
    return Call(
        torch._utils._rebuild_tensor_v2, of or Stored(), offset, size, stride, *(more or (False, OrderedDict()))
    )


def pickled(value: object) -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, each: object) -> object:
            return ("storage", each.kind, each.number, each.device, each.count) if isinstance(each, Stored) else None

    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


def nothing(_: object) -> None:
    """A check that finds no fault."""


def refused(file: Path) -> str:
    """Why, in one line."""
    with pytest.raises(ValueError, match=r"\S") as error:
        read_archive(file, nothing)
    message = str(error.value)
    assert type(error.value) is ValueError
    assert message.isprintable()
    assert len(message) <= 200
    return message


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit and of the same kinds, but that a dict may stand for an OrderedDict."""
    match a:
        case Tensor():
            as_bytes = [each.contiguous().view(-1).view(torch.uint8) for each in (a, b)]
            return (a.dtype, a.shape) == (b.dtype, b.shape) and torch.equal(*as_bytes)
        case dict():
            return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
        case list() | tuple():
            return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or a != a)
