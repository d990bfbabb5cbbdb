"""Snapshots, event files that hold them, and the answers of a TensorBoard, for the tests of this room."""

import json
import math
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np

from attention_tab.format import Snapshot
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
    )


def log(folder: Path, snapshots: dict[int, Snapshot], name: str = "validation") -> None:
    """Write the snapshots of one text, by their steps, as training does."""
    with closing(EventWriter(folder)) as writer:
        for step, snapshot in snapshots.items():
            writer.add_summary(summary_of(name, snapshot), step)
            if name == "validation":
                writer.add_summary(summary_of_metrics(snapshot), step)


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
