"""The Attention tab's routes, under /data/plugin/attention/: snapshots, curves, and the page that shows them.

A request's run and tag are looked up among those that TensorBoard has read, and its file in a fixed set, so that no
path from outside reaches the file system. Must not import torch: TensorBoard would wait for it.
"""

import io
import json
import math
import re
from argparse import Namespace
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import PurePath
from typing import Any

import numpy as np
from tensorboard import plugin_util
from tensorboard.backend.http_util import Respond
from tensorboard.data.provider import BlobSequenceDatum, RunTagFilter
from tensorboard.errors import InvalidArgumentError, NotFoundError
from tensorboard.plugins.base_plugin import FrontendMetadata, TBContext, TBLoader, TBPlugin
from werkzeug.wrappers import Request, Response

from attention_tab.blob import FormatError
from attention_tab.format import PLUGIN, decode, parsed_metric_tag

KEPT = 200  # snapshots of each text, unless the user's --samples_per_plugin says otherwise
ALL = 2**31 - 1  # no downsampling of those
CURVE_POINTS = 1000  # of each head
TYPES = {".js": "text/javascript", ".css": "text/css"}
STATIC = {
    f"/{file.name}": (file.read_bytes(), TYPES[PurePath(file.name).suffix])
    for file in files("attention_tab").joinpath("static").iterdir()
    if PurePath(file.name).suffix in TYPES
}

# The frame has a <base> of plugin/attention/ and an inline import() of this path. WebKit resolves it against the
# document, which gives /index.js itself; other browsers against the base, which gives this route.
ENTRY = f"/plugin/{PLUGIN}/index.js"
STATIC[ENTRY] = (b'export { render } from "../../index.js";\n', TYPES[".js"])


class Loader(TBLoader):
    """Makes the plugin for TensorBoard, which finds this class by its entry point."""

    def fix_flags(self, flags: Namespace) -> None:
        """Keep enough snapshots; TensorBoard's default is ten, at random."""
        flags.samples_per_plugin.setdefault(PLUGIN, KEPT)

    def load(self, context: TBContext) -> TBPlugin:
        return Plugin(context)


class Plugin(TBPlugin):
    """The tab of one TensorBoard server."""

    plugin_name = PLUGIN

    def __init__(self, context: TBContext) -> None:
        self._data = context.data_provider

    def get_plugin_apps(self) -> dict[str, Callable[..., Any]]:
        routes = {"/runs": self._runs, "/steps": self._steps, "/snapshot": self._snapshot, "/weights": self._weights}
        routes |= {"/curves": self._curves, "/losses": self._losses} | dict.fromkeys(STATIC, self._static)
        return {route: Request.application(answer) for route, answer in routes.items()}

    def is_active(self) -> bool:
        """TensorBoard itself activates the tab once it has read data of this plugin."""
        return False

    def frontend_metadata(self) -> FrontendMetadata:
        return FrontendMetadata(es_module_path=ENTRY, tab_name="Attention")

    def _static(self, request: Request) -> Response:
        content, type_ = STATIC[request.path.partition(f"/plugin/{PLUGIN}")[2]]
        return Respond(request, content, type_)

    def _runs(self, request: Request) -> Response:
        """The last step of each run and tag, and its wall time in seconds: {run: {tag: {step, time}}}."""
        try:
            found = self._data.list_blob_sequences(**_experiment(request), plugin_name=PLUGIN)
        except KeyError as error:  # the loader in Python names a series a moment before it has a value of it
            raise NotFoundError("a run is being read, ask again") from error
        listed = {
            run: {tag: {"step": series.max_step, "time": series.max_wall_time} for tag, series in tags.items()}
            for run, tags in found.items()
            if tags
        }
        return _respond_json(request, listed)

    def _steps(self, request: Request) -> Response:
        """The steps of one run and tag, and their wall times in seconds: [[step, time], ...]."""
        return _respond_json(request, [[datum.step, datum.wall_time] for datum in self._series(request)])

    def _snapshot(self, request: Request) -> Response:
        """One snapshot, as it was written."""
        return Respond(request, self._blob(request), "application/octet-stream")

    def _weights(self, request: Request) -> Response:
        """The weights of one snapshot as .npz."""
        try:
            snapshot, out = decode(self._blob(request)), io.BytesIO()
        except FormatError as error:
            raise InvalidArgumentError(str(error)) from error
        layers = np.split(snapshot.weights, np.cumsum(snapshot.heads)[:-1])
        codepoints = np.array([ord(token) for token in snapshot.tokens])  # numpy's own strings lose NUL
        arrays: dict[str, Any] = {f"layer_{number}": weights for number, weights in enumerate(layers, 1)}  # (H, T, T)
        np.savez_compressed(out, codepoints=codepoints, loss=snapshot.loss, **arrays)
        name = f"attention_step_{_step(request)}.npz"
        headers = [("Content-Disposition", f'attachment; filename="{name}"')]
        return Respond(request, out.getvalue(), "application/octet-stream", headers=headers)

    def _curves(self, request: Request) -> Response:
        """One metric of all heads of one run, over its steps: [[layer, head, [[step, value], ...]], ...]."""
        metric = _argument(request, "metric")
        found = self._scalars(request, lambda tag: (parsed_metric_tag(tag) or [None])[0] == metric)
        curves: dict[tuple[int, ...], dict[int, float]] = {}
        for tag, points in sorted(found.items()):  # those that an earlier version logged under another name come first
            if head := parsed_metric_tag(tag):
                curves.setdefault(head[1:], {}).update(points)
        return _respond_json(request, [[*head, sorted(points.items())] for head, points in sorted(curves.items())])

    def _losses(self, request: Request) -> Response:
        """Losses of one run in nats a character, over its steps: {split: [[step, value], ...]}."""
        found = self._scalars(request, lambda tag: tag.startswith("loss/"))
        return _respond_json(request, {tag.removeprefix("loss/"): points for tag, points in sorted(found.items())})

    def _scalars(self, request: Request, wanted: Callable[[str], bool]) -> dict[str, list[tuple[int, float]]]:
        """Finite values of the requested run's scalars whose tags are wanted, over its steps."""
        run = _argument(request, "run")
        scalars = {**_experiment(request), "plugin_name": "scalars"}
        listed = self._data.list_scalars(**scalars, run_tag_filter=RunTagFilter([run])).get(run, {})
        tags = list(filter(wanted, listed))
        if not tags:  # the fast loader treats an empty filter as no filter
            return {}
        filter_ = RunTagFilter([run], tags)
        found = self._data.read_scalars(**scalars, downsample=CURVE_POINTS, run_tag_filter=filter_).get(run, {})
        return {
            tag: [(point.step, point.value) for point in points if math.isfinite(point.value)]
            for tag, points in found.items()
        }

    def _series(self, request: Request) -> Sequence[BlobSequenceDatum]:
        """The snapshots of the requested run and tag. Raises NotFoundError."""
        run, tag = _argument(request, "run"), _argument(request, "tag")
        found = self._data.read_blob_sequences(
            **_experiment(request), plugin_name=PLUGIN, downsample=ALL, run_tag_filter=RunTagFilter([run], [tag])
        )
        series = found.get(run, {}).get(tag)
        if series is None:
            raise NotFoundError(f"expected a run and a tag with snapshots, got {run!r} and {tag!r}")
        return series

    def _blob(self, request: Request) -> bytes:
        """The requested snapshot. Raises InvalidArgumentError and NotFoundError."""
        step = _step(request)
        for datum in self._series(request):
            if datum.step == step:
                return self._data.read_blob(_experiment(request)["ctx"], blob_key=datum.values[0].blob_key)
        raise NotFoundError(f"expected a step that was kept, got {step}")


def _experiment(request: Request) -> dict[str, Any]:
    environment = request.environ
    return {"ctx": plugin_util.context(environment), "experiment_id": plugin_util.experiment_id(environment)}


def _argument(request: Request, name: str) -> str:
    value = request.args.get(name)
    if value is None:
        raise InvalidArgumentError(f"expected {name}=, got none")
    return value


def _step(request: Request) -> int:
    value = _argument(request, "step")
    if not re.fullmatch(r"\d{1,18}", value, re.ASCII):
        raise InvalidArgumentError(f"expected a whole number as step=, got {value!r}")
    return int(value)


def _respond_json(request: Request, content: object) -> Response:
    return Respond(request, json.dumps(content, allow_nan=False), "application/json")
