"""The format in which attention travels from training to the browser: one snapshot, one blob, read whole or refused.

All integers are little-endian.

    bytes 0-3    "ATTN"
    bytes 4-7    the version of this format
    bytes 8-11   the size of the content
    bytes 12-    the content, compressed by zlib (RFC 1950), whose Adler-32 finds damage

    content      the size of the header in four bytes, the header in UTF-8 JSON, then the arrays one after the other
    header       {"kind": ..., "arrays": [[name, type, shape], ...], and the other fields of the kind}

The kinds are `Snapshot` (attention), `Encoding`, and those of statistics.py and scores.py. Arrays have one dimension
or two: T characters, N heads in all layers together, H in one of L layers, M metrics, K likeliest characters, P places
of each head, D columns:

    attention    weights uint8 (N, T(T+1)/2), metrics float32 (M, N), chance float32 (M,), loss float32 (T,),
                 likeliest uint16 (T, K), probabilities float32 (T, K), value_norms uint16 (N, T),
                 lens_likeliest uint16 ((L+1)T, K), lens_probabilities uint8 ((L+1)T, K)
    statistics   metrics float32 (M, N), chance float32 (M,), ablations float32 (probes, N), places uint16 (NP, 3),
                 decisiveness float32 (NP,), maps uint8 (NP, T(T+1)/2), T the length of the longest sequence
    scores       of layer l, from 1: query_l, key_l int16 (HT, D); with an encoding that is added to the embedding
                 query_position_l, key_position_l int16 (HT, D); with additive scoring vector_l int16 (H, D)
    encoding     values int16 (positions, columns)

Weights and probabilities a in bytes are round(255 sqrt(a)); of maps the lower triangle is kept, row by row. Other
integers but indices are fractions of a largest value, which the header names. Version 2 had no value norms, chance and
lens, and called induction_random induction; version 1, besides, had a CRC-32 in bytes 8-11, before the size. Both are
read.

Knows numpy and nothing else. static/format.js is the same for the browser.
"""

import math
import re
from dataclasses import dataclass

import numpy as np

from attention_tab.blob import (
    LARGEST_CONTENT,
    from_levels,
    length_of,
    levels,
    metric_arrays,
    pack,
    quantized,
    triangles,
    unpack,
)

# The names under which TensorBoard lists what was written.
PLUGIN = "attention"
ENCODING_TAG = "attention_tab/encoding"
STATISTICS_TAG = "attention_tab/statistics"


def probe_tag(name: str) -> str:
    """Tag of the snapshots of one text."""
    return f"attention_tab/{name}"


def scores_tag(name: str) -> str:
    """Tag of the score factors of one text."""
    return f"attention_tab/scores/{name}"


def metric_tag(metric: str, layer: int, head: int) -> str:
    """Tag of one head's metric among TensorBoard's scalars, after the losses; layers and heads are counted from 1."""
    return f"per_head_{metric}/layer_{layer:02}_head_{head:02}"


def parsed_metric_tag(tag: str) -> tuple[str, int, int] | None:
    """The arguments of `metric_tag`, or None if it did not make this tag, nor an earlier version."""
    if found := re.fullmatch(r"(?:per_)?head_(\w+)/layer_(\d+)_head_(\d+)", tag):
        # Before it was per_head, induction was measured on the random string alone.
        metric = "induction_random" if tag.startswith("head_induction/") else found[1]
        return metric, int(found[2]), int(found[3])
    return None


def largest_text(heads: int) -> int:
    """The most characters that a snapshot of so many heads may have."""
    return math.isqrt(2 * (LARGEST_CONTENT - 2**23) // heads)  # all but the weights takes less than eight MiB


@dataclass(frozen=True)
class Lens:
    """The likeliest next characters if the layers after it were left out: the logit lens (nostalgebraist 2020)."""

    likeliest: np.ndarray  # (L + 1, T, K) indices of the snapshot's candidates, best first; row 0 of the embedding
    probabilities: np.ndarray  # (L + 1, T, K) of those


@dataclass(frozen=True)
class Snapshot:
    """Attention of all heads, N in all layers together, in one text of T characters."""

    tokens: list[str]  # of one character each
    heads: list[int]  # in each layer
    weights: np.ndarray  # (N, T, T), each in [0, 1], nothing above the diagonal
    metrics: dict[str, np.ndarray]  # (N,) each; NaN where a text is too short for it
    loss: np.ndarray  # (T,) of each character in nats, NaN for the first
    candidates: list[str]  # all characters that `likeliest` and `lens` name
    likeliest: np.ndarray  # (T, K) indices of candidates: the likeliest next characters, best first
    probabilities: np.ndarray  # (T, K) of those
    chance: dict[str, float]  # what each metric is if every query attends evenly; NaN where unknown
    value_norms: np.ndarray | None = None  # (N, T) norm of what each key's value adds to the stream; None if unknown
    lens: Lens | None = None  # None if unknown


@dataclass(frozen=True)
class Encoding:
    """The table of a positional encoding."""

    name: str
    columns: list[str]  # their names
    values: np.ndarray  # (positions, columns)


def encode(snapshot: Snapshot) -> bytes:
    """Raises ValueError if weights lie outside [0, 1] or above the diagonal."""
    arrays = {
        "weights": triangles(snapshot.weights),
        "loss": snapshot.loss.astype(np.float32),
        "likeliest": snapshot.likeliest.astype(np.uint16),
        "probabilities": snapshot.probabilities.astype(np.float32),
        **metric_arrays(snapshot.metrics, snapshot.chance, snapshot.heads),
    }
    header = {"tokens": snapshot.tokens, "heads": snapshot.heads, "metrics": list(snapshot.metrics)}
    header["candidates"] = snapshot.candidates
    if snapshot.value_norms is not None:
        arrays["value_norms"], header["largest_value_norm"] = quantized(snapshot.value_norms, np.uint16)
    if snapshot.lens:
        K = snapshot.lens.likeliest.shape[-1]
        arrays["lens_likeliest"] = snapshot.lens.likeliest.astype(np.uint16).reshape(-1, K)
        arrays["lens_probabilities"] = levels(snapshot.lens.probabilities).reshape(-1, K)
    return pack("attention", header, arrays)


def decode(blob: bytes) -> Snapshot:
    """Raises FormatError if `blob` is no snapshot or is damaged."""
    content = unpack(blob, "attention")
    tokens, candidates, heads = content.texts("tokens"), content.texts("candidates"), content.heads()
    T, N, after = length_of(tokens), sum(heads), len(heads) + 1
    weights, (metrics, chance) = content.maps("weights", N, T), content.metrics(heads)
    loss = content.array("loss", np.float32, (T,))
    probabilities = content.array("probabilities", np.float32, (T, None))
    likeliest = content.indices("likeliest", probabilities.shape, len(candidates))
    if not chance and "induction" in metrics:
        metrics["induction_random"] = metrics.pop("induction")
    norms = lens = None
    if "value_norms" in content.arrays:
        norms = content.restored("value_norms", np.uint16, (N, T), content.header.get("largest_value_norm"))
    if "lens_likeliest" in content.arrays:
        among = content.indices("lens_likeliest", (after * T, None), len(candidates))
        shares = from_levels(content.array("lens_probabilities", np.uint8, among.shape))
        lens = Lens(among.reshape(after, T, -1), shares.reshape(after, T, -1))
    shown = tokens, heads, weights, metrics, loss, candidates
    return Snapshot(*shown, likeliest, probabilities, chance, norms, lens)


def encode_encoding(encoding: Encoding) -> bytes:
    values, largest = quantized(encoding.values, np.int16)
    header = {"name": encoding.name, "columns": encoding.columns, "largest": largest}
    return pack("encoding", header, {"values": values})


def decode_encoding(blob: bytes) -> Encoding:
    """Raises FormatError if `blob` is no encoding or is damaged."""
    content = unpack(blob, "encoding")
    name, columns = content.field("name", str), content.texts("columns")
    values = content.restored("values", np.int16, (None, len(columns)), content.header.get("largest"))
    return Encoding(name, columns, values)
