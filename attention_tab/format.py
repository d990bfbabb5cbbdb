"""The format in which attention travels from training to the browser: one snapshot, one blob, read whole or refused.

All integers are little-endian.

    bytes 0-3    "ATTN"
    bytes 4-7    the version of this format
    bytes 8-11   the size of the content
    bytes 12-    the content, compressed by zlib (RFC 1950), whose Adler-32 finds damage

    content      the size of the header in four bytes, the header in UTF-8 JSON, then the arrays one after the other
    header       {"kind": ..., "arrays": [[name, type, shape], ...], and the other fields of the kind}

The kinds are `Snapshot` and `Encoding`. Of attention weights the lower triangle is kept, row by row, each weight a as
the byte round(255 sqrt(a)): small weights keep their proportions, and a weight is off by 0.004 at most. Version 1, also
read, had a CRC-32 in bytes 8-11, before the size.

Knows numpy and nothing else. static/format.js is the same for the browser.
"""

import json
import math
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

VERSION = 2
MAGIC = b"ATTN"
PRELUDE = struct.Struct("<4sI")  # magic, version
SIZE = struct.Struct("<I")
LEAST = 16  # bytes, of a blob of any version
LARGEST_CONTENT = 2**27  # bytes; more is no snapshot and is not decompressed
TYPES = {"uint8": "<u1", "uint16": "<u2", "int16": "<i2", "float32": "<f4"}

# The names under which TensorBoard lists what was written.
PLUGIN = "attention"
ENCODING_TAG = "attention_tab/encoding"


def probe_tag(name: str) -> str:
    """Tag of the snapshots of one text."""
    return f"attention_tab/{name}"


def metric_tag(metric: str, layer: int, head: int) -> str:
    """Tag of one head's metric among TensorBoard's scalars; layers and heads are counted from 1."""
    return f"head_{metric}/layer_{layer:02}_head_{head:02}"


def parsed_metric_tag(tag: str) -> tuple[str, int, int] | None:
    """The arguments of `metric_tag`, or None if it did not make this tag."""
    if found := re.fullmatch(r"head_(\w+)/layer_(\d+)_head_(\d+)", tag):
        return found[1], int(found[2]), int(found[3])
    return None


def largest_text(heads: int) -> int:
    """The most characters that a snapshot of so many heads may have."""
    return math.isqrt(2 * (LARGEST_CONTENT - 2**23) // heads)  # all but the weights takes less than eight MiB


class FormatError(ValueError):
    """The blob is no snapshot, or is damaged."""


@dataclass(frozen=True)
class Snapshot:
    """Attention of all heads, N in all layers together, in one text of T characters."""

    tokens: list[str]  # of one character each
    heads: list[int]  # in each layer
    weights: np.ndarray  # (N, T, T), each in [0, 1], nothing above the diagonal
    metrics: dict[str, np.ndarray]  # (N,) each; NaN where a text is too short for it
    loss: np.ndarray  # (T,) of each character in nats, NaN for the first
    candidates: list[str]  # all characters that `likeliest` names
    likeliest: np.ndarray  # (T, K) indices of candidates: the likeliest next characters, best first
    probabilities: np.ndarray  # (T, K) of those


@dataclass(frozen=True)
class Encoding:
    """The table of a positional encoding."""

    name: str
    columns: list[str]  # their names
    values: np.ndarray  # (positions, columns)


def encode(snapshot: Snapshot) -> bytes:
    """Raises ValueError if weights lie outside [0, 1] or above the diagonal."""
    weights, T = snapshot.weights, len(snapshot.tokens)
    triangle = weights[:, *np.tril_indices(T)]
    if weights[:, *np.triu_indices(T, 1)].any() or not 0 <= triangle.min() <= triangle.max() <= 1:
        raise ValueError("expected attention weights from 0 to 1, none of them for the future")
    arrays = {
        "weights": (255 * np.sqrt(triangle, dtype=np.float32)).round().astype(np.uint8),
        "metrics": np.array(list(snapshot.metrics.values()), np.float32).reshape(len(snapshot.metrics), len(weights)),
        "loss": snapshot.loss.astype(np.float32),
        "likeliest": snapshot.likeliest.astype(np.uint16),
        "probabilities": snapshot.probabilities.astype(np.float32),
    }
    header = {"tokens": snapshot.tokens, "heads": snapshot.heads, "metrics": list(snapshot.metrics)}
    return _packed({"kind": "attention", **header, "candidates": snapshot.candidates}, arrays)


def decode(blob: bytes) -> Snapshot:
    """Raises FormatError if `blob` is no snapshot or is damaged."""
    header, arrays = _unpacked(blob, "attention")
    tokens, candidates = _texts(header, "tokens"), _texts(header, "candidates")
    heads, metrics = _field(header, "heads", list), _texts(header, "metrics")
    _expect(all(len(token) == 1 for token in tokens), "tokens: one character each")
    _expect(all(type(count) is int and count > 0 for count in heads), "heads: positive integers")
    N, T = sum(heads), len(tokens)
    _expect(N > 0 and T > 0, "a head and a character at least")
    triangle = _array(arrays, "weights", np.uint8, (N, T * (T + 1) // 2))
    measured = _array(arrays, "metrics", np.float32, (len(metrics), N))
    loss = _array(arrays, "loss", np.float32, (T,))
    probabilities = _array(arrays, "probabilities", np.float32, (T, None))
    likeliest = _array(arrays, "likeliest", np.uint16, probabilities.shape)
    _expect(likeliest.size == 0 or likeliest.max() < len(candidates), "likeliest: indices of candidates")
    weights = np.zeros((N, T, T), np.float32)
    weights[:, *np.tril_indices(T)] = (triangle / np.float32(255)) ** 2
    return Snapshot(
        tokens, heads, weights, dict(zip(metrics, measured, strict=True)), loss, candidates, likeliest, probabilities
    )


def encode_encoding(encoding: Encoding) -> bytes:
    """Values are kept as 16-bit fractions of the largest."""
    largest = float(np.abs(encoding.values).max(initial=0)) or 1.0
    values = (encoding.values.astype(np.float64) * (32767 / largest)).round().astype(np.int16)
    header = {"kind": "encoding", "name": encoding.name, "columns": encoding.columns, "largest": largest}
    return _packed(header, {"values": values})


def decode_encoding(blob: bytes) -> Encoding:
    """Raises FormatError if `blob` is no encoding or is damaged."""
    header, arrays = _unpacked(blob, "encoding")
    name, columns, largest = _field(header, "name", str), _texts(header, "columns"), _field(header, "largest", float)
    _expect(0 < largest <= np.finfo(np.float32).max, "largest: a positive number")
    values = _array(arrays, "values", np.int16, (None, len(columns)))
    # In float64, as the largest may be the largest of float32; and a crafted -32768 would exceed it.
    fractions = np.maximum(values.astype(np.float64) / 32767, -1)
    return Encoding(name, columns, (fractions * largest).astype(np.float32))


def _packed(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    listed = [[name, array.dtype.name, array.shape] for name, array in arrays.items()]
    head = json.dumps({**header, "arrays": listed}, allow_nan=False).encode()
    parts = [SIZE.pack(len(head)), head]
    parts += [array.astype(TYPES[array.dtype.name], copy=False).tobytes() for array in arrays.values()]
    content = b"".join(parts)
    if len(content) > LARGEST_CONTENT:
        raise ValueError(f"expected at most {LARGEST_CONTENT} bytes in a snapshot, got {len(content)}")
    return PRELUDE.pack(MAGIC, VERSION) + SIZE.pack(len(content)) + zlib.compress(content, level=1)


def _unpacked(blob: bytes, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays. Nothing is allocated for an announced size before that much is known to be there."""
    _expect(len(blob) >= LEAST, f"at least {LEAST} bytes", len(blob))
    magic, version = PRELUDE.unpack_from(blob)
    _expect(magic == MAGIC, f"a snapshot, which begins with {MAGIC!r}", magic)
    _expect(version in (1, VERSION), f"format {VERSION} or 1", version)
    start = PRELUDE.size + (4 if version == 1 else 0)
    (size,) = SIZE.unpack_from(blob, start)
    _expect(SIZE.size <= size <= LARGEST_CONTENT, f"{SIZE.size} to {LARGEST_CONTENT} bytes of content", size)
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(memoryview(blob)[start + SIZE.size :], size + 1)
    except zlib.error as error:
        raise FormatError(f"expected undamaged, compressed content: {error}") from error
    _expect(len(content) == size and inflater.eof and not inflater.unused_data, f"{size} bytes of content")
    (length,) = SIZE.unpack_from(content)
    start = SIZE.size + length
    _expect(start <= size, f"a header of {length} bytes", size)
    try:
        header = json.loads(content[SIZE.size : start].decode())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"expected a header in JSON: {error}") from error
    _expect(isinstance(header, dict), "a header that is an object")
    _expect(header.get("kind") == kind, f"a snapshot of {kind}", header.get("kind"))
    arrays = {}
    for entry in _field(header, "arrays", list):
        match entry:
            case [str(name), str(type_), [*shape]] if type_ in TYPES and len(shape) <= 2:
                dtype = np.dtype(TYPES[type_])
            case _:
                raise FormatError(f"expected name, type and shape of each array, got {entry!r}"[:200])
        _expect(all(type(n) is int and 0 <= n <= size for n in shape), f"the shape of {name!r}"[:200])
        end = start + math.prod(shape) * dtype.itemsize
        _expect(end <= size, f"all of {name!r}"[:200])
        arrays[name] = np.frombuffer(content[start:end], dtype).reshape(shape)
        start = end
    _expect(start == size, "nothing after the arrays", f"{size - start} bytes")
    return header, arrays


def _array(arrays: Mapping[str, np.ndarray], name: str, dtype: type, shape: tuple[int | None, ...]) -> np.ndarray:
    found = arrays.get(name, np.empty(0))
    fits = found.ndim == len(shape) and all(wanted in (n, None) for n, wanted in zip(found.shape, shape, strict=True))
    _expect(found.dtype == dtype and fits, f"{name} as {np.dtype(dtype).name} {shape}", f"{found.dtype} {found.shape}")
    return found


def _texts(header: Mapping[str, Any], name: str) -> list[str]:
    found: list[str] = _field(header, name, list)
    _expect(all(isinstance(text, str) for text in found), f"{name}: texts")
    return found


def _field(header: Mapping[str, Any], name: str, type_: type) -> Any:
    found = header.get(name)
    _expect(isinstance(found, type_), f"{name}: {type_.__name__}", type(found).__name__)
    return found


def _expect(holds: bool, expected: str, got: object = None) -> None:
    if not holds:
        raise FormatError(f"expected {expected}" + ("" if got is None else f", got {got}"))
