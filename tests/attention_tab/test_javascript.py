"""The scripts that the browser runs, tested by node: *.test.mjs beside this file, on snapshots that Python wrote."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attention_tab import scores, statistics
from attention_tab.blob import levels
from attention_tab.format import Encoding, Snapshot, decode, decode_encoding, encode, encode_encoding
from attention_tab.scores import Scores
from attention_tab.statistics import Statistics
from tests.attention_tab.helpers import made, made_scores, made_statistics

TESTS = sorted(Path(__file__).parent.glob("*.test.mjs"))
PATIENCE = 120  # seconds
CHARACTERS = ["a", "😀", "<", "\n", "\u202e", "\ud800", "\u0301", '"', "\\", "\0", "漢", "\u2028"]


def node() -> str:
    """Skips where there is none, unless it is required."""
    found = shutil.which("node")
    if found is None and "node" in os.environ.get("CHARSCOPE_REQUIRE", ""):
        pytest.fail("CHARSCOPE_REQUIRE asks for node, and there is no node on the PATH")
    if found is None:
        pytest.skip("there is no node on the PATH to run the tab's scripts")
    return found


def test_the_tabs_scripts_pass_their_tests_with_what_python_wrote(tmp_path: Path) -> None:
    for name, snapshot in snapshots().items():
        blob = encode(snapshot)
        write(tmp_path / f"{name}.snapshot", blob, expected_snapshot(decode(blob)))
    for name, encoding in encodings().items():
        blob = encode_encoding(encoding)
        largest = float(np.float32(np.abs(encoding.values).max(initial=0))) or 1.0
        read = decode_encoding(blob)
        computed = {"positions": len(read.values), "largest": largest, "values": read.values}
        write(tmp_path / f"{name}.encoding", blob, vars(read) | computed)
    for number, sequences in enumerate(([["a", "\n", "👍"], ["b"]], [[*"xyz"]])):
        blob = statistics.encode(made_statistics(sequences, [2, 1], seed=number))
        write(tmp_path / f"{number}.statistics", blob, expected_statistics(statistics.decode(blob)))
    for scoring, position in ("dot", "sinusoidal"), ("additive", "rotary"), ("mean", "none"):
        blob = scores.encode(made_scores(3, [2, 1], scoring, position))
        write(tmp_path / f"{scoring}.scores", blob, expected_scores(scores.decode(blob)))
    command = [node(), "--test", "--test-reporter=tap", *map(str, TESTS)]
    environment = {**os.environ, "SNAPSHOTS": str(tmp_path)}
    ran = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=PATIENCE)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "\n# skipped 0\n" in ran.stdout, ran.stdout


def snapshots() -> dict[str, Snapshot]:
    """By what is special about each."""
    sizes = [(1, [1]), (2, [4, 1, 3]), (12, [1, 1]), (64, [2, 2]), (65, [4, 1, 3])]
    found = {f"{T}_{sum(heads)}": made((CHARACTERS * 6)[:T], heads, seed=T) for T, heads in sizes}
    nothing = np.zeros((3, 0))
    found["bare"] = replace(
        made([*"abc"], [1]), metrics={}, candidates=[], likeliest=nothing, probabilities=nothing, lens=None
    )
    found["unknown"] = replace(made([*"abc"], [2]), metrics={"<b>": np.full(2, np.nan)}, loss=np.full(3, np.nan))
    return found


def encodings() -> dict[str, Encoding]:
    """By what is special about each."""
    random = np.random.default_rng(0)
    return {
        "waves": Encoding("sinusoidal", [f"column {i}" for i in range(6)], random.uniform(-1, 1, (65, 6))),
        "one": Encoding("<script>", ["\u202e"], np.array([[-3e-5]])),
        "flat": Encoding("\ud800", CHARACTERS, np.zeros((2, len(CHARACTERS)))),
        "large": Encoding("learned 😀", ["a", "b"], random.normal(0, 1e6, (9, 2))),
        "empty": Encoding("", [], np.zeros((0, 0))),
    }


def expected_snapshot(snapshot: Snapshot) -> dict[str, Any]:
    """The fields that the browser must read."""
    lens, found = snapshot.lens, {**vars(snapshot), "names": head_names(snapshot.heads)}
    found["levels"] = levels(found.pop("weights")[:, *np.tril_indices(len(snapshot.tokens))])
    found["choices"], found["valueNorms"] = snapshot.likeliest.shape[1], found.pop("value_norms")
    if lens:
        found["lens"] = vars(lens) | {"probabilities": levels(lens.probabilities), "choices": lens.likeliest.shape[-1]}
    return found


def expected_statistics(found: Statistics) -> dict[str, Any]:
    """The fields that the browser must read."""
    lengths = [*map(len, found.sequences)]
    places = [
        [
            {
                **dict(zip(("sequence", "query", "key"), place.tolist(), strict=True)),
                "decisiveness": float(decisiveness),
                "levels": levels(weights[np.tril_indices(lengths[place[0]])]),
            }
            for place, decisiveness, weights in zip(*of_head, strict=True)
            if not np.isnan(decisiveness)
        ]
        for of_head in zip(found.places, found.decisiveness, found.maps, strict=True)
    ]
    same = {name: getattr(found, name) for name in ("sequences", "metrics", "chance", "ablations")}
    return {**same, "names": head_names(found.heads), "places": places}


def expected_scores(found: Scores) -> dict[str, Any]:
    """The fields that the browser must read."""
    layers, T = [], 0
    for layer in found.layers:
        H, T, D = layer.query.shape
        read = vars(layer) | {"queryPosition": layer.query_position, "keyPosition": layer.key_position}
        del read["query_position"], read["key_position"]
        layers.append({**read, "heads": H, "columns": D})
    names = {"scoring": found.scoring, "position": found.position, "names": head_names(found.heads)}
    return {**names, "layers": layers, "T": T}


def head_names(heads: list[int]) -> list[str]:
    return [f"{i}.{j}" for i, H in enumerate(heads, 1) for j in range(1, H + 1)]


def plain(value: Any) -> Any:
    """As JSON has it: arrays flat, and null for NaN."""
    match value:
        case np.ndarray():
            return plain(value.ravel().tolist())
        case list():
            return [plain(each) for each in value]
        case dict():
            return {name: plain(each) for name, each in value.items()}
        case float() if np.isnan(value):
            return None
    return value


def write(path: Path, blob: bytes, expected: dict[str, Any]) -> None:
    path.write_bytes(blob)
    Path(f"{path}.json").write_text(json.dumps(plain(expected), allow_nan=False))
