import io
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from tensorboard.errors import NotFoundError
from tensorboard.plugins.base_plugin import TBContext
from torch.utils.tensorboard.summary import scalar
from werkzeug.test import Client

from attention_tab.format import Encoding, decode, decode_encoding, encode
from attention_tab.plugin import KEPT, STATIC, Loader, Plugin
from bench.browser import tensorboard, wait_until
from board.snapshots import summary_of
from board.writer import EventWriter
from tests.attention_tab.helpers import get, get_json, last_steps, log, made

TOKENS = [*"to be\n", "👍"]
RUNS = {"first/run": {step: made(TOKENS, [2, 1], step) for step in (0, 10, 20)}, "b & c": {5: made(["x"], [1])}}
VALIDATION = {"run": "first/run", "tag": "attention_tab/validation"}


@pytest.fixture(scope="module", params=["true", "false"], ids=["fast loader", "Python's loader"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a TensorBoard that has read all that is in RUNS."""
    logdir = tmp_path_factory.mktemp("runs")
    for run, snapshots in RUNS.items():
        log(logdir / run, snapshots)
    log(logdir / "many", {step: made(["a", "b"], [1], step) for step in range(KEPT + 50)})
    log(logdir / "first/run", {20: made(["y"], [1])}, name="probe_1")
    with closing(EventWriter(logdir / "plain")) as writer:
        writer.add_summary(scalar("loss", 1.0))
        writer.add_summary(summary_of(Encoding("waves", ["sine"], np.array([[0.0], [0.5]]))))
    with closing(EventWriter(logdir / "rolled back")) as writer:
        for step in 0, 10, 20:
            writer.add_summary(summary_of(made(["a"], [1]), "validation"), step)
        writer.purge(11)
        writer.add_summary(summary_of(made(["a"], [1]), "validation"), 15)
    (logdir / "secret.js").write_text("secret")
    with tensorboard(logdir, f"--load_fast={request.param}") as address:
        wait_until(lambda: last_steps(address).get("many") == {"attention_tab/validation": KEPT + 49})
        wait_until(lambda: len(last_steps(address)) == 5)
        yield address


def test_every_run_is_listed_with_the_last_step_of_each_text(address: str) -> None:
    assert last_steps(address) == {
        "first/run": {"attention_tab/validation": 20, "attention_tab/probe_1": 20},
        "b & c": {"attention_tab/validation": 5},
        "many": {"attention_tab/validation": KEPT + 49},
        "plain": {"attention_tab/encoding": 0},
        "rolled back": {"attention_tab/validation": 15},
    }


def test_steps_come_in_order_with_their_times_of_which_the_list_has_the_last(address: str) -> None:
    found = {}
    for run, tags in get_json(address, "runs").items():
        for tag, last in tags.items():
            steps, times = zip(*get_json(address, "steps", run=run, tag=tag), strict=True)
            assert steps == tuple(sorted(set(steps)))
            assert min(times) > 1e9
            assert (steps[-1], times[-1]) == (last["step"], last["time"])
            found[run, tag] = steps
    assert found["first/run", "attention_tab/validation"] == (0, 10, 20)
    assert found["rolled back", "attention_tab/validation"] == (0, 10, 15)  # what came after the roll-back is forgotten
    assert len(found["many", "attention_tab/validation"]) == KEPT  # TensorBoard by itself would keep ten


def test_a_snapshot_and_an_encoding_arrive_as_they_were_written(address: str) -> None:
    for step, snapshot in RUNS["first/run"].items():
        status, headers, body = get(address, "snapshot", **VALIDATION, step=step)
        assert (status, headers["Content-Type"]) == (200, "application/octet-stream")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert body == encode(snapshot)
    _, _, body = get(address, "snapshot", run="plain", tag="attention_tab/encoding", step=0)
    assert decode_encoding(body).name == "waves"


def test_weights_are_downloaded_as_numpy_reads_them(address: str) -> None:
    status, headers, body = get(address, "weights", **VALIDATION, step=10)
    assert (status, headers["Content-Disposition"]) == (200, 'attachment; filename="attention_step_10.npz"')
    found, written = np.load(io.BytesIO(body)), decode(encode(RUNS["first/run"][10]))
    assert set(found) == {"layer_1", "layer_2", "codepoints", "loss"}
    np.testing.assert_array_equal(np.concatenate([found["layer_1"], found["layer_2"]]), written.weights)
    assert [chr(code) for code in found["codepoints"]] == TOKENS
    np.testing.assert_array_equal(found["loss"], written.loss)


def test_the_curves_of_one_metric_come_for_all_heads_at_once(address: str) -> None:
    curves = get_json(address, "curves", run="first/run", metric="entropy")
    assert [(layer, head) for layer, head, _ in curves] == [(1, 1), (1, 2), (2, 1)]
    for number, (_, _, points) in enumerate(curves):
        expected = [[step, pytest.approx(shot.metrics["entropy"][number])] for step, shot in RUNS["first/run"].items()]
        assert points == expected
    induction_was_nan = ("first/run", "induction")
    for run, metric in induction_was_nan, ("first/run", "toString"), ("plain", "entropy"), ("none such", "entropy"):
        assert get_json(address, "curves", run=run, metric=metric) == []
    assert get(address, "curves", run="first/run")[::2] == (400, b"Invalid argument: expected metric=, got none")


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({**VALIDATION}, 400, "expected step="),
        ({**VALIDATION, "step": "ten"}, 400, "whole number"),
        ({**VALIDATION, "step": "-1"}, 400, "whole number"),
        ({**VALIDATION, "step": "٣"}, 400, "whole number"),
        ({**VALIDATION, "step": "9" * 400}, 400, "whole number"),
        ({**VALIDATION, "step": "11"}, 404, "that was kept, got 11"),
        ({"run": "first/run", "step": 0}, 400, "expected tag="),
        ({"tag": "attention_tab/validation", "step": 0}, 400, "expected run="),
        ({**VALIDATION, "run": "../../etc/passwd", "step": 0}, 404, "a run and a tag with snapshots"),
        ({**VALIDATION, "tag": "loss", "run": "plain", "step": 0}, 404, "a run and a tag with snapshots"),
        ({**VALIDATION, "run": "", "step": 0}, 404, "a run and a tag with snapshots"),
    ],
)
@pytest.mark.parametrize("route", ["snapshot", "weights"])
def test_what_is_not_there_is_said(address: str, route: str, query: dict[str, Any], status: int, said: str) -> None:
    found, headers, body = get(address, route, **query)
    assert (found, headers["Content-Type"].partition(";")[0]) == (status, "text/plain")
    assert said in body.decode()


def test_weights_that_cannot_be_read_are_a_bad_request(address: str) -> None:
    status, _, body = get(address, "weights", run="plain", tag="attention_tab/encoding", step=0)
    assert (status, body) == (400, b"Invalid argument: expected a snapshot of attention, got encoding")


def test_the_page_is_served_and_no_other_file(address: str) -> None:
    types = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
    assert {"/index.js", "/style.css"} < STATIC.keys()
    for name, (content, _) in STATIC.items():
        status, headers, body = get(address, name.lstrip("/"))
        assert (status, headers["Content-Type"], body) == (200, types[Path(name).suffix], content)
        assert headers["X-Content-Type-Options"] == "nosniff"
    for path in ("secret.js", "plugin.py", "../plugin.py", "..%2fplugin.py", "%2e%2e/format.py", "static/index.js", ""):
        assert get(address, path)[0] == 404, path


def listed(address: str, step: int) -> bool:
    return bool(last_steps(address) == {"run": {"attention_tab/validation": step}})


def test_new_snapshots_appear_while_it_runs_under_a_prefix_and_where_it_is_not_installed(tmp_path: Path) -> None:
    with (
        closing(EventWriter(tmp_path / "run")) as writer,
        tensorboard(tmp_path, "--path_prefix", "/some/where", module="attention_tab") as address,
    ):
        assert address.endswith("/some/where")
        assert last_steps(address) == {}
        for step in (1, 2):
            writer.add_summary(summary_of(made(["a"], [1]), "validation"), step)
            writer.flush()
            wait_until(partial(listed, address, step))


def test_a_run_that_python_s_loader_has_named_but_not_yet_read_is_said() -> None:
    provider = Mock(**{"list_blob_sequences.side_effect": KeyError("attention_tab/validation")})
    runs = Plugin(TBContext(data_provider=provider)).get_plugin_apps()["/runs"]
    with pytest.raises(NotFoundError, match="is being read"):
        Client(runs).get("/runs")


def test_the_users_own_number_of_samples_wins() -> None:
    for given, kept in ({}, {"attention": KEPT}), ({"attention": 7, "images": 1}, {"attention": 7, "images": 1}):
        flags = Namespace(samples_per_plugin=dict(given))
        Loader().fix_flags(flags)
        assert flags.samples_per_plugin == kept


def test_tensorboard_need_not_wait_for_torch() -> None:
    code = "import attention_tab.plugin, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
