"""The container of `format.py`: a header in JSON and arrays, compressed, read whole or refused.

Knows numpy and nothing else. static/blob.js is the same for the browser.
"""

import json
import math
import struct
import zlib
from collections.abc import Mapping
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


def pack(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    listed = [[name, array.dtype.name, array.shape] for name, array in arrays.items()]
    head = json.dumps({**header, "arrays": listed}, allow_nan=False).encode()
    parts = [SIZE.pack(len(head)), head]
    parts += [array.astype(TYPES[array.dtype.name], copy=False).tobytes() for array in arrays.values()]
    content = b"".join(parts)
    if len(content) > LARGEST_CONTENT:
        raise ValueError(f"expected at most {LARGEST_CONTENT} bytes in a snapshot, got {len(content)}")
    return PRELUDE.pack(MAGIC, VERSION) + SIZE.pack(len(content)) + zlib.compress(content, level=1)


def unpack(blob: bytes, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays. Nothing is allocated for an announced size before that much is known to be there."""
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
    for entry in field(header, "arrays", list):
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
    return header, arrays


def array(arrays: Mapping[str, np.ndarray], name: str, dtype: type, shape: tuple[int | None, ...]) -> np.ndarray:
    found = arrays.get(name, np.empty(0))
    fits = found.ndim == len(shape) and all(wanted in (n, None) for n, wanted in zip(found.shape, shape, strict=True))
    expect(found.dtype == dtype and fits, f"{name} as {np.dtype(dtype).name} {shape}", f"{found.dtype} {found.shape}")
    return found


def texts(header: Mapping[str, Any], name: str) -> list[str]:
    found: list[str] = field(header, name, list)
    expect(all(isinstance(text, str) for text in found), f"{name}: texts")
    return found


def field(header: Mapping[str, Any], name: str, type_: type) -> Any:
    found = header.get(name)
    expect(isinstance(found, type_), f"{name}: {type_.__name__}", type(found).__name__)
    return found


def expect(holds: bool, expected: str, got: object = None) -> None:
    if not holds:
        raise FormatError(f"expected {expected}" + ("" if got is None else f", got {got}"))


def quantized(values: np.ndarray, dtype: type) -> tuple[np.ndarray, float]:
    """Values as fractions of the largest magnitude, in integers of `dtype`, and that largest."""
    largest = float(np.float32(np.abs(values).max(initial=0))) or 1.0
    return (values.astype(np.float64) * (np.iinfo(dtype).max / largest)).round().astype(dtype), largest


def restored(fractions: np.ndarray, largest: Any, name: str) -> np.ndarray:
    """Inverse of `quantized`. Raises FormatError unless `largest` is a positive number of float32."""
    most = float(np.finfo(np.float32).max)
    expect(isinstance(largest, float) and 0 < largest <= most, f"largest of {name}: a positive number")
    # In float64, as the largest may be the largest of float32; and a crafted -32768 would exceed it.
    return (np.maximum(fractions / np.iinfo(fractions.dtype).max, -1) * largest).astype(np.float32)


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


def from_triangles(triangles: np.ndarray, T: int) -> np.ndarray:
    weights = np.zeros((len(triangles), T, T), np.float32)
    weights[:, *np.tril_indices(T)] = from_levels(triangles)
    return weights


def metric_rows(values: dict[str, np.ndarray], heads: list[int]) -> np.ndarray:
    return np.array(list(values.values()), np.float32).reshape(len(values), sum(heads))


def heads_of(header: dict[str, Any]) -> tuple[list[int], int]:
    """Heads in each layer, and in all together."""
    heads: list[int] = field(header, "heads", list)
    expect(all(type(count) is int and count > 0 for count in heads), "heads: positive integers")
    expect(heads != [], "a head at least")
    return heads, sum(heads)


def length_of(tokens: list[str]) -> int:
    expect(all(len(token) == 1 for token in tokens), "tokens: one character each")
    expect(tokens != [], "a character at least")
    return len(tokens)


def expect_indices(indices: np.ndarray, candidates: list[str]) -> None:
    expect(indices.size == 0 or indices.max() < len(candidates), "likeliest: indices of candidates")
