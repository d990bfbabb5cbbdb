"""Snapshots, event files that hold them, and the answers of a TensorBoard, for the tests of this room."""

import json
import math
import zlib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np

from attention_tab.blob import MAGIC, PRELUDE, SIZE, VERSION
from attention_tab.format import Lens, Snapshot
from attention_tab.scores import LayerScores, Scores
from attention_tab.statistics import Statistics
from bench.browser import PATIENCE
from board.snapshots import summary_of, summary_of_metrics
from board.writer import EventWriter


def made(tokens: list[str], heads: list[int], seed: int = 0) -> Snapshot:
    """A snapshot of causal weights that sum to one."""
    random, T, N = np.random.default_rng(seed), len(tokens), sum(heads)
    weights = np.tril(random.random((N, T, T)) ** 4 + 1e-6)
    choices = min(3, T)
    return Snapshot(
        tokens=tokens,
        heads=heads,
        weights=(weights / weights.sum(-1, keepdims=True)).astype(np.float32),
        metrics={"entropy": random.random(N), "induction": np.full(N, math.nan)},
        loss=np.append(math.nan, random.random(T - 1)),
        candidates=sorted(set(tokens)),
        likeliest=random.integers(len(set(tokens)), size=(T, choices)),
        probabilities=random.random((T, choices)),
        chance={"entropy": 0.5, "induction": math.nan},
        value_norms=random.random((N, T)),
        lens=Lens(
            random.integers(len(set(tokens)), size=(len(heads) + 1, T, 2)), random.random((len(heads) + 1, T, 2))
        ),
    )


def made_statistics(sequences: list[list[str]], heads: list[int], places: int = 2, seed: int = 0) -> Statistics:
    """Statistics of heads with causal weights that sum to one; the last place of each head is none."""
    random, N, T = np.random.default_rng(seed), sum(heads), max(map(len, sequences))
    maps = np.tril(random.random((N, places, T, T)) + 1e-6)
    where = random.integers(len(sequences), size=(N, places))
    queries = np.array([[random.integers(len(sequences[s])) for s in row] for row in where]).reshape(N, places)
    decisiveness = random.random((N, places))
    decisiveness[:, -1:] = math.nan
    return Statistics(
        heads=heads,
        sequences=sequences,
        metrics={"ablation": random.normal(size=N), "previous": random.random(N)},
        chance={"ablation": math.nan, "previous": 0.25},
        ablations={"validation": random.normal(size=N)},
        places=np.stack((where, queries, random.integers(queries + 1)), axis=-1),
        decisiveness=decisiveness,
        maps=(maps / maps.sum(-1, keepdims=True)).astype(np.float32),
    )


def made_scores(T: int, heads: list[int], scoring: str = "dot", position: str = "rotary", seed: int = 0) -> Scores:
    """Factors of scores, in layers of different sizes."""
    random = np.random.default_rng(seed)
    added = position in ("sinusoidal", "learned")
    layers = []
    for number, H in enumerate(heads, 1):
        query, key, by_position, of_position = random.normal(size=(4, H, T, 2 * number))
        layers.append(
            LayerScores(
                query=query,
                key=key,
                scale=0.5,
                vector=random.normal(size=(H, 2 * number)) if scoring == "additive" else None,
                query_position=by_position if added else None,
                key_position=of_position if added else None,
            )
        )
    return Scores(scoring, position, heads, [] if scoring == "mean" else layers)


def log(folder: Path, contents: Mapping[int, Snapshot | Scores | Statistics], name: str = "validation") -> None:
    """Write what there is of one text, by its steps, as training does."""
    with closing(EventWriter(folder)) as writer:
        for step, content in contents.items():
            writer.add_summary(summary_of(content, name), step)
            if isinstance(content, Snapshot) and name == "validation":
                writer.add_summary(summary_of_metrics(content), step)


def opened(blob: bytes) -> tuple[Any, bytes]:
    """The header and the arrays."""
    content = zlib.decompress(blob[PRELUDE.size + SIZE.size :])
    start = SIZE.size + SIZE.unpack_from(content)[0]
    return json.loads(content[SIZE.size : start]), content[start:]


def sealed(header: Any, arrays: bytes = b"", *, size: int | None = None, length: int | None = None) -> bytes:
    """A blob of any content, which may announce another size of it and of its header."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    content = SIZE.pack(len(head) if length is None else length) + head + arrays
    announced = PRELUDE.pack(MAGIC, VERSION) + SIZE.pack(len(content) if size is None else size)
    return announced + zlib.compress(content)


def get(address: str, route: str, method: str = "GET", **query: object) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of what the plugin answers."""
    request = Request(f"{address}/data/plugin/attention/{route}?{urlencode(query)}", method=method)
    try:
        with urlopen(request, timeout=PATIENCE) as response:
            return response.status, dict(response.headers), response.read()
    except HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def last_steps(address: str) -> dict[str, dict[str, int]]:
    """Of each run and tag that TensorBoard has read."""
    runs = get_json(address, "runs")
    return {run: {tag: last["step"] for tag, last in tags.items()} for run, tags in runs.items()}


def get_json(address: str, route: str, **query: Any) -> Any:
    status, _, body = get(address, route, **query)
    assert status == 200, body
    return json.loads(body)
