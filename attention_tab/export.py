"""The tab of a run as one page without a server: the page holds what the plugin answers. Must not import torch."""

import json
import os
import secrets
import sys
from argparse import ArgumentParser
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, NoReturn

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from werkzeug.test import Client

from attention_tab.format import PLUGIN, parsed_metric_tag, scores_tag
from attention_tab.page import page
from attention_tab.plugin import CURVE_POINTS, Plugin

MEGABYTES = 3.0  # of a page, unless told otherwise

Series = list[tuple[tuple[int, float], str]]  # step and wall time, and the answer that is the snapshot
Logged = dict[tuple[str, str], Series]  # by run and tag


class ExportError(ValueError):
    """A mistake of the user: says in one line what was expected and what was got."""


@dataclass(frozen=True)
class InlinePage:
    """A page that notebooks display."""

    html: str = field(repr=False)
    height: int  # pixels

    def _repr_html_(self) -> str:
        style = f"width: 100%; height: {self.height}px; border: 0"
        return f'<iframe srcdoc="{escape(self.html)}" style="{style}"></iframe>'


def page_of(folder: Path, megabytes: float = MEGABYTES) -> str:
    """The page of all runs in `folder`; steps are left out evenly until it is no larger. Raises ExportError."""
    answers, logged = recorded(folder)
    kept = thinned(logged, room=1e6 * megabytes - len(page(answers, "")))
    if kept is None:
        expected = f"expected snapshots of at most {megabytes:g} MB, got more in {str(folder)!r}"
        raise ExportError(f"{expected}: give --megabytes=, or the folder of one run")
    note = "A page without a server, made by python -m attention_tab export."
    for (run, tag), series in kept.items():
        answers.append(answer("steps", [moment for moment, _ in series], run=run, tag=tag))
        answers += [snapshot for _, snapshot in series]
        if len(series) < (written := len(logged[run, tag])):
            note += f" {run}, {tag.partition('/')[2]}: {len(series)} of {written} steps are here."
    return page(answers, note)


def recorded(folder: Path) -> tuple[list[str], Logged]:
    """Answers of the plugin about the runs in `folder`, and apart from them their snapshots. Raises ExportError."""
    if not os.path.isdir(folder):  # Path.is_dir raises where the name is too long
        raise ExportError(f"expected the folder of a run, got {str(folder)!r}")
    path = folder.resolve()
    multiplexer = EventMultiplexer(tensor_size_guidance={PLUGIN: 0, "scalars": CURVE_POINTS})  # 0: all
    try:
        multiplexer.AddRunsFromDirectory(str(path)).Reload()
    except OSError as error:
        raise ExportError(f"cannot read {str(folder)!r}: {error.strerror}") from error
    provider = MultiplexerDataProvider(multiplexer, str(path))
    routes = Plugin(TBContext(data_provider=provider)).get_plugin_apps()

    def ask(route: str, **query: Any) -> bytes:
        response = Client(routes[f"/{route}"]).get(query_string=query)
        assert response.status_code == 200, response.text
        return response.data

    runs = json.loads(ask("runs"))
    if not runs:
        raise ExportError(f"expected a run with snapshots of attention, got none in {str(folder)!r}")
    scalars = provider.list_scalars(RequestContext(), experiment_id="", plugin_name="scalars")
    names = {run: path.name if run == "." else run for run in runs}
    answers = [answer("runs", {names[run]: tags for run, tags in runs.items()})]
    logged: Logged = {}
    for run, name in names.items():
        answers.append(answer("losses", json.loads(ask("losses", run=run)), run=name))
        for metric in sorted({found[0] for tag in scalars.get(run, ()) if (found := parsed_metric_tag(tag))}):
            curves = json.loads(ask("curves", run=run, metric=metric))
            answers.append(answer("curves", curves, run=name, metric=metric))
        for tag in runs[run]:
            logged[name, tag] = []
            for step, time in json.loads(ask("steps", run=run, tag=tag)):
                blob = b64encode(ask("snapshot", run=run, tag=tag, step=step)).decode()
                logged[name, tag].append(((step, time), answer("snapshot", blob, run=name, tag=tag, step=step)))
    return answers, logged


def answer(route: str, body: Any, **query: Any) -> str:
    return json.dumps([route, query, body], separators=(",", ":"))


def thinned(logged: Logged, room: float) -> Logged | None:
    """Of scores the last step, of others as many as fit into `room` bytes; None if two do not."""
    longest = max(map(len, logged.values()))
    for count in range(max(longest, 2), 1, -1):
        counts = {key: 1 if key[1].startswith(scores_tag("")) else count for key in logged}
        kept = {key: evenly(series, counts[key]) for key, series in logged.items()}
        if sum(len(snapshot) + 50 for series in kept.values() for _, snapshot in series) <= room:
            return kept
    return None


def evenly(series: Series, count: int) -> Series:
    """At most `count` of the snapshots, the last among them, and the first if there are two."""
    last, intervals = len(series) - 1, min(count, len(series)) - 1
    return [series[last - round(i * last / max(1, intervals))] for i in range(intervals, -1, -1)]


def save(html: str, file: Path) -> None:
    """Write a page, whole or not at all, through a link. Raises ExportError."""
    target = Path(os.path.realpath(file))
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
    try:
        if target.exists() and not (target.is_file() or target.is_dir()):  # a directory is refused below
            raise ExportError(f"cannot write {str(file)!r}: expected a file, got a device or a pipe")
        temporary.write_text(html, encoding="utf-8", newline="\n")
        temporary.replace(target)
    except OSError as error:
        raise ExportError(f"cannot write {str(file)!r}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


class Parser(ArgumentParser):
    """Says a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message}; {self.prog} --help says more\n")


def main(arguments: list[str]) -> int:
    parser = Parser("python -m attention_tab export", description="Save the Attention tab of a run as a page.")
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a run, or of a few")
    parser.add_argument("file", metavar="PAGE.html", type=Path)
    parser.add_argument("--megabytes", type=float, default=MEGABYTES, help="at most (default: %(default)g)")
    given = parser.parse_args(arguments)
    try:
        html = page_of(given.run, given.megabytes)
        save(html, given.file)
    except ExportError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{str(given.file)!r}: {len(html) / 1e6:.1f} MB, to be opened in a browser")
    return 0
