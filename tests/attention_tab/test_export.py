"""The tab as a page without a server, and in notebooks."""

import html
import json
import os
import re
import subprocess
import sys
from base64 import b64decode
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.remote.webdriver import WebDriver
from torch.utils.tensorboard.summary import scalar

import attention_tab
from attention_tab.export import ExportError, main, page_of, save
from attention_tab.format import STATISTICS_TAG, decode, encode, metric_tag, probe_tag, scores_tag
from attention_tab.page import script
from attention_tab.plugin import STATIC
from bench.browser import open_tab
from board.snapshots import summary_of
from board.writer import EventWriter
from tests.attention_tab.helpers import log, made, made_scores, made_statistics
from tests.attention_tab.page import Page, assert_lists
from tests.attention_tab.test_javascript import CHARACTERS, node

HOSTILE = "<!--<script>\u2028'\"&amp;"
VALIDATION = probe_tag("validation")


def embedded(page: str) -> str:
    (data,) = re.findall(r'<script type="application/json">\n(.*)\n</script>\n<script>', page)
    return str(data)


def answers(page: str, route: str) -> list[tuple[dict[str, Any], Any]]:
    """Query and body of each answer of a route."""
    return [(query, body) for name, query, body in json.loads(embedded(page))["answers"] if name == route]


def steps(page: str, tag: str) -> list[int]:
    (found,) = (body for query, body in answers(page, "steps") if query["tag"] == tag)
    return [step for step, _ in found]


def test_every_module_is_in_the_script_and_nothing_is_left_to_load(tmp_path: Path) -> None:
    code = script()
    modules = {path[1:-3] for path in STATIC if path.endswith(".js") and "/" not in path[1:]} - {"index"}
    assert set(re.findall(r"^const (\w+)\$ = ", code, re.MULTILINE)) == modules
    assert not re.search(r"^\s*(import|export)\b", code, re.MULTILINE)
    assert not re.search("</script|<!--", code, re.IGNORECASE)
    (tmp_path / "script.js").write_text(code, encoding="utf-8")
    subprocess.run([node(), "--check", tmp_path / "script.js"], check=True)


def test_no_text_and_no_name_of_a_run_can_end_an_element(tmp_path: Path) -> None:
    snapshot = made([*CHARACTERS, *"</script><!--"], [1])
    log(tmp_path / HOSTILE, {0: snapshot})
    page = page_of(tmp_path)
    assert not set("<\u2028") & set(embedded(page))
    ((_, runs),) = answers(page, "runs")
    assert list(runs) == [HOSTILE]
    ((query, body),) = answers(page, "snapshot")
    assert query == {"run": HOSTILE, "tag": VALIDATION, "step": 0}
    assert b64decode(body) == encode(snapshot)


def test_a_page_has_all_that_was_written_but_what_a_resumed_run_has_taken_back(tmp_path: Path) -> None:
    with closing(EventWriter(tmp_path)) as writer:
        for step in 0, 10, 20:
            writer.add_summary(summary_of(made([*"ab"], [1], seed=step), "validation"), step)
        writer.purge(11)
        writer.add_summary(summary_of(made([*"ab"], [1], seed=15), "validation"), 15)
        writer.add_summary(scalar(metric_tag("entropy", 1, 1), 0.5), 15)
        writer.add_summary(scalar("loss/training", 2.0), 15)
    page = page_of(tmp_path)
    assert steps(page, VALIDATION) == [0, 10, 15]
    snapshots = answers(page, "snapshot")
    assert [query["run"] for query, _ in snapshots] == [tmp_path.name] * 3
    assert b64decode(snapshots[-1][1]) == encode(made([*"ab"], [1], seed=15))
    assert answers(page, "curves") == [({"run": tmp_path.name, "metric": "entropy"}, [[1, 1, [[15, 0.5]]]])]
    assert answers(page, "losses") == [({"run": tmp_path.name}, {"training": [[15, 2.0]]})]


def test_steps_are_left_out_evenly_and_of_scores_all_but_the_last(tmp_path: Path) -> None:
    text, everything = [*"to be or not to be, that is"], [*range(0, 90, 10)]
    for content in made(text, [2, 2]), made_statistics([text], [2, 2]), made_scores(27, [2, 2]):
        log(tmp_path, dict.fromkeys(everything, content))

    def kept(page: str) -> list[list[int]]:
        return [steps(page, tag) for tag in (VALIDATION, STATISTICS_TAG, scores_tag("validation"))]

    whole = page_of(tmp_path)
    assert kept(whole) == [everything, everything, [80]]
    of_one = sum(len(body) for query, body in answers(whole, "snapshot") if query["step"] == 0)
    least = (len(whole) - 7 * of_one) / 1e6
    page = page_of(tmp_path, least + 3 * of_one / 1e6)
    assert len(page.encode()) <= 1e6 * least + 3 * of_one
    few, statistics, scores = kept(page)
    assert (few[0], few[-1], statistics, scores) == (0, 80, few, [80])
    assert 2 < len(few) < 9
    assert len({after - before for before, after in pairwise(few)}) <= 2
    assert f"validation: {len(few)} of 9 steps" in embedded(page)
    with pytest.raises(ExportError, match=r"at most 0\.1 MB, got more in "):
        page_of(tmp_path, 0.1)


@pytest.mark.parametrize(
    ("run", "file", "said"),
    [
        ("missing", "page.html", "expected the folder of a run, got "),
        ("empty", "page.html", "expected a run with snapshots of attention, got none in "),
        ("run", "missing/page.html", "cannot write .*: No such file or directory"),
        ("run", "empty", "cannot write .*: Is a directory"),
        ("run", "/", "cannot write '/': "),
        ("x" * 300, "page.html", "expected the folder of a run, got "),
        ("run", "x" * 300, "cannot write .*: File name too long"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], run: str, file: str, said: str
) -> None:
    log(tmp_path / "run", {0: made([*"ab"], [1])})
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / run), str(tmp_path / file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(said + ".*\n", err)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "empty"}


def test_a_run_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("attention_tab.export.EventMultiplexer.AddRunsFromDirectory", refused)
    with pytest.raises(ExportError, match=r"cannot read .*: Permission denied"):
        page_of(tmp_path)


@pytest.mark.parametrize("given", [[], ["run"], ["run", "page.html", "--megabytes=many"], ["run", "page.html", "--no"]])
def test_wrong_arguments_are_said_in_one_line(capsys: pytest.CaptureFixture[str], given: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        main(given)
    assert re.fullmatch(
        "(the following|argument|unrecognized).*; python -m attention_tab export --help .*\n", capsys.readouterr().err
    )


def test_a_page_is_written_through_a_link_and_never_in_the_place_of_a_device(tmp_path: Path) -> None:
    save("old", kept := tmp_path / "kept.html")
    (link := tmp_path / "link.html").symlink_to(kept)
    save("new", link)
    assert link.is_symlink()
    assert kept.read_text() == "new"
    os.mkfifo(pipe := tmp_path / "pipe")
    with pytest.raises(ExportError, match=r"cannot write .*: expected a file"):
        save("new", pipe)
    assert pipe.is_fifo()


def test_a_page_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save("old", file := tmp_path / "page.html")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(ExportError, match="No space left on device"):
        save("new", file)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_the_package_is_light_and_its_command_saves_a_page_without_torch(tmp_path: Path) -> None:
    log(tmp_path / "run", {0: made([*"ab"], [1])})
    code = "import attention_tab, sys; sys.exit('tensorboard' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    given = ["-X", "importtime", "-m", "attention_tab", "export", tmp_path / "run", tmp_path / "page.html"]
    ran = subprocess.run([sys.executable, *map(str, given)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout[-26:]) == (0, "to be opened in a browser\n")
    assert not re.search(r"\| +torch$", ran.stderr, re.MULTILINE)
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page_of(tmp_path / "run")


def opened(browser: WebDriver) -> Page:
    """The page that is open."""
    page = Page.__new__(Page)
    page.browser = browser
    page.ready()
    return page


@pytest.mark.slow
def test_a_page_from_disk_shows_heads_steps_text_and_comparisons_and_asks_for_nothing(
    browser: WebDriver, logdir: Path, tmp_path: Path
) -> None:
    save(saved := page_of(logdir), tmp_path / "page.html")
    assert "default-src 'none'" in saved  # the browser refuses it the network
    snapshots = {
        (query["run"], query["step"]): decode(b64decode(body))
        for query, body in answers(saved, "snapshot")
        if query["tag"] == VALIDATION
    }
    address = f"{(tmp_path / 'page.html').as_uri()}#attention&p.attention.run=one&p.attention.step=10"
    open_tab(browser, address, framed=False)
    page = opened(browser)
    page.one("[data-head='1.2']").click()
    page.hover(7)
    assert_lists(page.rows(), snapshots["one", 10].weights[1, 7])
    page.one("button[aria-label='Next step']").click()
    page.ready(step=15)
    page.hover(12)
    assert_lists(page.rows(), snapshots["one", 15].weights[1, 12])
    for other, run, step in ("two", "two", 15), ("another step of this run", "one", 0):
        page.choose("Compare with", other)
        page.hover(13)
        here, there = snapshots["one", 15].weights[1, 13], snapshots[run, step].weights[1, 13]
        for position, numbers in page.rows().items():
            expected = [here[position], there[position], here[position] - there[position]]
            assert numbers == pytest.approx(expected, abs=6e-5)
    assert page.all("section[aria-label='Curves'] svg polyline")
    assert not page.one("a[download]").is_displayed()
    assert page.script("return performance.getEntriesByType('resource').map(({ name }) => name)") == []
    assert page.script("return window.hacked") is None


@pytest.mark.slow
@pytest.mark.parametrize("sandbox", ["allow-scripts", "allow-scripts allow-same-origin"])
@pytest.mark.parametrize("body", ['data-jp-theme-light="false"', 'class="vscode-dark"'])
def test_show_displays_it_within_a_notebook_in_its_theme(
    browser: WebDriver, tmp_path: Path, sandbox: str, body: str
) -> None:
    log(tmp_path / "run", {0: made([*"to be"], [2])})
    shown: Any = attention_tab.show(tmp_path / "run", height=700)
    assert html.unescape(re.findall('srcdoc="(.*?)"', shown._repr_html_(), re.DOTALL)[0]) == page_of(tmp_path / "run")
    assert repr(shown) == "InlinePage(height=700)"
    frame = shown._repr_html_().replace("<iframe", f'<iframe sandbox="{sandbox}"')
    (tmp_path / "notebook.html").write_text(f"<body {body}>{frame}", encoding="utf-8")
    browser.get((tmp_path / "notebook.html").as_uri())
    browser.switch_to.frame(0)
    theme = opened(browser).script("return document.documentElement.dataset.theme")
    assert theme == ("dark" if "origin" in sandbox else "light")
