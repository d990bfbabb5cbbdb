"""The container of `format.py`: a header in JSON and arrays, compressed, read whole or refused.

Knows numpy and nothing else. static/blob.js is the same for the browser.
"""

import json
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

VERSION = 3
MAGIC = b"ATTN"
PRELUDE = struct.Struct("<4sI")  # magic, version
SIZE = struct.Struct("<I")
LEAST = 16  # bytes, of a blob of any version
LARGEST_CONTENT = 2**27  # bytes; more is no snapshot and is not decompressed
TYPES = {"uint8": "<u1", "uint16": "<u2", "int16": "<i2", "float32": "<f4"}


class FormatError(ValueError):
    """The blob is no snapshot, or is damaged."""


def pack(kind: str, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    listed = [[name, array.dtype.name, array.shape] for name, array in arrays.items()]
    head = json.dumps({"kind": kind, **header, "arrays": listed}, allow_nan=False).encode()
    stored = (array.astype(TYPES[array.dtype.name], copy=False).tobytes() for array in arrays.values())
    content = b"".join((SIZE.pack(len(head)), head, *stored))
    if len(content) > LARGEST_CONTENT:
        raise ValueError(f"expected at most {LARGEST_CONTENT} bytes in a snapshot, got {len(content)}")
    return PRELUDE.pack(MAGIC, VERSION) + SIZE.pack(len(content)) + zlib.compress(content, level=1)


def expect(holds: bool, expected: str, got: object = None) -> None:
    if not holds:
        raise FormatError(f"expected {expected}" + ("" if got is None else f", got {got}"))


@dataclass(frozen=True)
class Content:
    """Header and arrays of a blob. Each method raises FormatError unless what it reads is as it must be."""

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def field(self, name: str, type_: type) -> Any:
        found = self.header.get(name)
        expect(isinstance(found, type_), f"{name}: {type_.__name__}", type(found).__name__)
        return found

    def texts(self, name: str) -> list[str]:
        found: list[str] = self.field(name, list)
        expect(all(isinstance(text, str) for text in found), f"{name}: texts")
        return found

    def heads(self) -> list[int]:
        """Heads in each layer."""
        found: list[int] = self.field("heads", list)
        expect(all(type(count) is int and count > 0 for count in found), "heads: positive integers")
        expect(found != [], "a head at least")
        return found

    def array(self, name: str, dtype: type, shape: tuple[int | None, ...]) -> np.ndarray:
        found = self.arrays.get(name, np.empty(0))
        fits = found.ndim == len(shape) and all(n in (None, m) for m, n in zip(found.shape, shape, strict=True))
        expect(
            found.dtype == dtype and fits, f"{name} as {np.dtype(dtype).name} {shape}", f"{found.dtype} {found.shape}"
        )
        return found

    def indices(self, name: str, shape: tuple[int | None, ...], size: int) -> np.ndarray:
        found = self.array(name, np.uint16, shape)
        expect(not (found >= size).any(), f"{name}: indices of candidates")
        return found

    def rows(self, name: str, names: list[str], heads: list[int]) -> dict[str, np.ndarray]:
        return dict(zip(names, self.array(name, np.float32, (len(names), sum(heads))), strict=True))

    def metrics(self, heads: list[int]) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Metrics and their chance levels, which versions before 3 lack."""
        names = self.texts("metrics")
        chance = self.array("chance", np.float32, (len(names),)).tolist() if "chance" in self.arrays else []
        return self.rows("metrics", names, heads), dict(zip(names, chance, strict=False))

    def maps(self, name: str, count: int | None, T: int) -> np.ndarray:
        """Inverse of `triangles`: (count, T, T)."""
        stored = self.array(name, np.uint8, (count, T * (T + 1) // 2))
        weights = np.zeros((len(stored), T, T), np.float32)
        weights[:, *np.tril_indices(T)] = from_levels(stored)
        return weights

    def restored(self, name: str, dtype: type, shape: tuple[int | None, ...], largest: Any) -> np.ndarray:
        """Inverse of `quantized`."""
        fractions, most = self.array(name, dtype, shape), float(np.finfo(np.float32).max)
        expect(isinstance(largest, float) and 0 < largest <= most, f"largest of {name}: a positive number")
        # In float64, as the largest may be the largest of float32; and a crafted -32768 would exceed it.
        return (np.maximum(fractions / np.iinfo(dtype).max, -1) * largest).astype(np.float32)


def unpack(blob: bytes, kind: str) -> Content:
    """Raises FormatError. Nothing is allocated for an announced size before that much is known to be there."""
    expect(len(blob) >= LEAST, f"at least {LEAST} bytes", len(blob))
    magic, version = PRELUDE.unpack_from(blob)
    expect(magic == MAGIC, f"a snapshot, which begins with {MAGIC!r}", magic)
    expect(1 <= version <= VERSION, f"format 1 to {VERSION}", version)
    start = PRELUDE.size + (4 if version == 1 else 0)
    (size,) = SIZE.unpack_from(blob, start)
    expect(SIZE.size <= size <= LARGEST_CONTENT, f"{SIZE.size} to {LARGEST_CONTENT} bytes of content", size)
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(memoryview(blob)[start + SIZE.size :], size + 1)
    except zlib.error as error:
        raise FormatError(f"expected undamaged, compressed content: {error}") from error
    expect(len(content) == size and inflater.eof and not inflater.unused_data, f"{size} bytes of content")
    (length,) = SIZE.unpack_from(content)
    start = SIZE.size + length
    expect(start <= size, f"a header of {length} bytes", size)
    try:
        header = json.loads(content[SIZE.size : start].decode())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"expected a header in JSON: {error}") from error
    expect(isinstance(header, dict), "a header that is an object")
    expect(header.get("kind") == kind, f"a snapshot of {kind}", header.get("kind"))
    arrays = {}
    for entry in Content(header, {}).field("arrays", list):
        match entry:
            case [str(name), str(type_), [*shape]] if type_ in TYPES and len(shape) <= 2:
                dtype = np.dtype(TYPES[type_])
            case _:
                raise FormatError(f"expected name, type and shape of each array, got {entry!r}"[:200])
        expect(all(type(n) is int and 0 <= n <= size for n in shape), f"the shape of {name!r}"[:200])
        end = start + math.prod(shape) * dtype.itemsize
        expect(end <= size, f"all of {name!r}"[:200])
        arrays[name] = np.frombuffer(content[start:end], dtype).reshape(shape)
        start = end
    expect(start == size, "nothing after the arrays", f"{size - start} bytes")
    return Content(header, arrays)


def length_of(tokens: list[str]) -> int:
    expect(all(isinstance(token, str) and len(token) == 1 for token in tokens), "tokens: one character each")
    expect(tokens != [], "a character at least")
    return len(tokens)


def rows(values: Mapping[str, np.ndarray], heads: list[int]) -> np.ndarray:
    return np.array(list(values.values()), np.float32).reshape(len(values), sum(heads))


def metric_arrays(metrics: Mapping[str, np.ndarray], chance: Mapping[str, float], heads: list[int]) -> dict[str, Any]:
    levels = np.array([chance.get(name, math.nan) for name in metrics], np.float32)
    return {"metrics": rows(metrics, heads), "chance": levels}


def quantized(values: np.ndarray, dtype: type) -> tuple[np.ndarray, float]:
    """Values as fractions of the largest magnitude, in integers of `dtype`, and that largest."""
    largest = float(np.float32(np.abs(values).max(initial=0))) or 1.0
    return (values.astype(np.float64) * (np.iinfo(dtype).max / largest)).round().astype(dtype), largest


def levels(weights: np.ndarray) -> np.ndarray:
    """Weights from 0 to 1 as the bytes round(255 sqrt(a)): small ones keep their proportions, 0.004 off at most."""
    return (255 * np.sqrt(weights, dtype=np.float32)).round().astype(np.uint8)


def from_levels(stored: np.ndarray) -> np.ndarray:
    return (stored / np.float32(255)) ** 2


def triangles(weights: np.ndarray) -> np.ndarray:
    """Lower triangles (..., T(T+1)/2) of weights (..., T, T). Raises ValueError if they are no causal attention."""
    T = weights.shape[-1]
    triangle = weights[..., *np.tril_indices(T)]
    outside = weights[..., *np.triu_indices(T, 1)].any()
    if outside or not 0 <= triangle.min(initial=0) <= triangle.max(initial=0) <= 1:
        raise ValueError("expected attention weights from 0 to 1, none of them for the future")
    return levels(triangle)
