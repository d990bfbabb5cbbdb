"""Files of torch.save, read without trust in who wrote them.

Pickle would run what it finds. torch's reader, told to load weights only, runs nothing, but makes a bytearray of any
size that it is asked for, and there are records that crash it. So before it gets to see a file, the two dozen
operations that torch.save writes for tensors and plain values are followed here one by one, without memory for tensors.
"""

import re
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickletools import genops
from typing import Any, BinaryIO, cast
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import torch
from torch import Tensor

Storages = Callable[[str], Tensor]  # the bytes of a record under data/, by its number, once

LARGEST = 2**22  # bytes of the content without its tensors, and of the directory of records
DEEPEST = 32  # of values in values
END = struct.Struct("<4s28x3Q 4s16x 4s16xH")  # of an archive: its directory's entries, size and place; no comment
NAME = re.compile(r"([^./\\][^/\\]*)/(data\.pkl|data/\d+|byteorder|version|\.[\w/]+)")  # of a record, in its folder
# What the records say that are neither content nor numbers. torch's reader trusts them.
ASIDE = {"byteorder": sys.byteorder, "version": r"\d{1,3}\n?", ".format_version": r"\d{1,3}"}
ASIDE |= {".storage_alignment": r"[1-9]\d{0,4}", ".data/serialization_id": r"\d{1,99}"}
NEEDED = {"data.pkl", "byteorder", "version"}
KINDS = {"Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16}
KINDS |= {"Long": torch.int64, "Int": torch.int32, "Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool}
KNOWN: dict[Any, Any] = {f"torch {kind}Storage": dtype for kind, dtype in KINDS.items()}  # all that a file may name
KNOWN |= {"collections OrderedDict": dict, "torch._utils _rebuild_tensor_v2": Tensor}
TAKEN = {"APPEND": 1, "BINPERSID": 1, "BUILD": 1, "REDUCE": 2, "SETITEM": 2, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_archive(file: Path, check: Callable[[object], object]) -> object:
    """The content of a file that torch.save wrote: dicts, lists, tuples, plain values, and tensors on the CPU.

    `check` gets it first, its tensors on torch's meta device, where they take no memory. What that raises for a content
    it does not want, a KeyError, TypeError or ValueError, is passed on. Raises OSError if the file cannot be read, and
    ValueError, with a reason in one line, if it is not what torch.save writes of such values, each in one place.
    """
    if not stat.S_ISREG(file.stat().st_mode):  # a pipe would be waited for
        raise ValueError("no file, but a folder or a device")
    with open(file, "rb") as stream:
        with _refusing(OSError):
            archive, folder = _archive(stream)
            pickled = archive.read(f"{folder}/data.pkl")
            content = _content(pickled, _storages(archive, folder))
        with _refusing(KeyError, TypeError, ValueError):
            check(content)
        with _refusing(OSError):
            stream.seek(0)
            return torch.load(stream, map_location="cpu", weights_only=True)


@contextmanager
def _refusing(*passed: type[Exception]) -> Iterator[None]:
    """A foreign file can make anything go wrong inside: a ValueError of one line comes of all that is not `passed`."""
    try:
        yield
    except passed:
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(ascii(" ".join(reason.split()))[1:-1][:200]) from error


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def _archive(stream: BinaryIO) -> tuple[ZipFile, str]:
    """The archive and the folder in it. Raises ValueError or BadZipFile unless it is whole and just as torch.save's."""
    size = stream.seek(0, 2)
    stream.seek(max(0, size - END.size))
    end = stream.read()
    _expect(len(end) == END.size, "a file of another kind")
    sixty_four, _, directory, place, locator, classic, comment = END.unpack(end)
    signatures = (sixty_four, locator, classic) == (b"PK\6\6", b"PK\6\7", b"PK\5\6")
    _expect(signatures and not comment, "a file of another kind, or not all of one")
    _expect(directory <= LARGEST and place + directory + END.size == size, "a directory that does not fit the file")
    archive = ZipFile(stream)
    records = sorted(archive.infolist(), key=lambda record: record.header_offset)
    folders = {name[1] if (name := NAME.fullmatch(record.orig_filename)) else "" for record in records}
    _expect(len(folders) == 1 and "" not in folders, "strange names of records")
    _expect(len(set(archive.namelist())) == len(records), "two records of one name")
    (folder,) = folders
    _expect({f"{folder}/{name}" for name in NEEDED} <= set(archive.namelist()), "an archive of another kind")
    _expect(all(map(_is_stored, records)), "records that are compressed, encrypted or links")
    starts = [record.header_offset for record in records]
    ends = [_end(record, stream) for record in records]
    apart = all(end <= start for end, start in zip(ends, [*starts[1:], place], strict=True))
    _expect(starts[0] == 0 and apart, "records that overlap, or do not begin where the file does")
    _expect(archive.testzip() is None, "damaged: a checksum differs")
    _expect(archive.getinfo(f"{folder}/data.pkl").file_size <= LARGEST, "a content that is too large")
    for record in records:
        kind = record.filename.removeprefix(f"{folder}/")
        if kind != "data.pkl" and not kind.startswith("data/"):
            said = archive.read(record) if record.file_size < 100 else b""
            known = kind in ASIDE and re.fullmatch(ASIDE[kind], said.decode("ascii"), re.ASCII)
            _expect(bool(known), f"a strange {kind}")
    return archive, folder


def _is_stored(record: ZipInfo) -> bool:
    flags = record.flag_bits & ~0x808  # but for a name in UTF-8, and a size that is written behind the content
    as_it_is = record.compress_type == ZIP_STORED and record.compress_size == record.file_size
    return as_it_is and flags == 0 and record.external_attr == 0


def _end(record: ZipInfo, stream: BinaryIO) -> int:
    """Where the content of `record` ends: in front of it the header, the name and some padding."""
    stream.seek(record.header_offset + 26)
    name, padding = struct.unpack("<2H", stream.read(4))
    return record.header_offset + 30 + name + padding + record.file_size


def _storages(archive: ZipFile, folder: str) -> Storages:
    """Each record is given out once: tensors that shared one could be many times as large as the file."""
    records = {record.filename: record for record in archive.infolist()}

    def storage(number: str) -> Tensor:
        record = records.pop(f"{folder}/data/{number}", None)
        if record is None:
            raise ValueError("a tensor whose numbers are missing, or another's")
        return torch.empty(record.file_size, dtype=torch.uint8, device="meta")

    return storage


def _content(pickled: bytes, storages: Storages) -> object:
    """What `pickled` describes. Nothing in it has two places, so it is hardly larger than its description."""
    stack: list[Any] = []
    outer: list[list[Any]] = []  # the stack below each mark
    memo: dict[Any, Any] = {}
    for operation, argument, _ in genops(pickled):
        name = operation.name
        taken = [stack.pop() for _ in range(TAKEN.get(name, 0))][::-1]
        if name in ("TUPLE", "APPENDS", "SETITEMS"):
            taken, stack = stack, outer.pop()
        match name:
            case "PROTO":
                _expect(argument == 2, "pickled by another protocol than torch.save's")
            case "MARK":
                outer.append(stack)
                stack = []
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "BINFLOAT" | "BINUNICODE":
                stack.append(argument)
            case "LONG1":
                # A dict of larger ones could take forever.
                _expect(abs(cast(int, argument)) < 2**63, "a number of more than 64 bits")
                stack.append(argument)
            case "GLOBAL":
                _expect(argument in KNOWN, f"it names {argument}, which is no plain value")
                stack.append(KNOWN[argument])
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                shared = memo[argument]
                _expect(isinstance(shared, str | type | torch.dtype), "a value in two places")
                stack.append(shared)
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(taken))
            case "APPEND" | "APPENDS":
                _expect(type(stack[-1]) is list, "more for what is no list")
                stack[-1].extend(taken)
            case "SETITEM" | "SETITEMS":
                plain = type(stack[-1]) is dict and all(isinstance(key, str | int) for key in taken[::2])
                _expect(plain, "keys for what is no dict, or keys that are neither text nor whole numbers")
                stack[-1].update(zip(taken[::2], taken[1::2], strict=True))
            case "BINPERSID":
                stack.append(_storage(taken[0], storages))
            case "REDUCE":
                made, arguments = taken
                _expect(made is Tensor or (made is dict and arguments == ()), "a call that is none of torch.save's")
                stack.append({} if made is dict else _tensor(*arguments))
            case "BUILD":  # attributes of an OrderedDict, which plain values have not
                _expect(type(stack[-1]) is dict, "attributes of a plain value")
            case "STOP":
                (content,) = stack
                _check_plain(content)
                return content
            case _:
                raise ValueError(f"pickled in another way than torch.save's, with {name}")
    raise ValueError("a content without an end")


def _storage(named: object, storages: Storages) -> Tensor:
    """The numbers (n,) of a tensor, which are a record."""
    match named:
        case ("storage", torch.dtype() as dtype, str(number), str(), int(count)):
            numbers = storages(number)
            _expect(len(numbers) == count * dtype.itemsize, f"{len(numbers)} bytes for {count} numbers of {dtype}")
            return numbers.view(dtype)
    raise ValueError("numbers of a strange kind")


def _tensor(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], requires_grad: object, hooks: object
) -> Tensor:
    """A row of the numbers in `storage`, in shape: the arguments are those of torch._utils._rebuild_tensor_v2."""
    tensor = storage.as_strided(size, stride, offset)  # which lets a tensor on the meta device be larger
    row = len(size) <= 8 and tensor.is_contiguous() and offset + tensor.numel() <= len(storage)
    _expect(row, f"a tensor of size {size!r:.50} in {len(storage)} numbers")
    _expect(requires_grad is False and hooks == {}, "a tensor with gradients")
    return tensor


def _check_plain(value: object, depth: int = 0) -> None:
    _expect(depth <= DEEPEST, f"values in values, deeper than {DEEPEST}")
    match value:
        case dict():
            for each in value.values():
                _check_plain(each, depth + 1)
        case list() | tuple():
            for each in value:
                _check_plain(each, depth + 1)
        case _:
            _expect(value is None or isinstance(value, str | int | float | Tensor), "a value that is not plain")
