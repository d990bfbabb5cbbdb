"""Around the tab, in real browsers: new snapshots, links, files, themes, widths, failures."""

import io
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import Select
from werkzeug.exceptions import NotFound
from werkzeug.middleware.http_proxy import ProxyMiddleware
from werkzeug.serving import make_server

from attention_tab.format import probe_tag
from bench.browser import enter_frame, open_tab, tensorboard, wait_until
from board.snapshots import summary_of
from board.writer import EventWriter
from tests.attention_tab.helpers import last_steps, log, made
from tests.attention_tab.page import Page, stored

pytestmark = pytest.mark.slow


def test_new_snapshots_appear_while_training_goes_on_under_a_prefix_too(browser: WebDriver, tmp_path: Path) -> None:
    with (
        closing(EventWriter(tmp_path / "run")) as writer,
        tensorboard(tmp_path, "--path_prefix", "/some/where") as address,
    ):
        page = Page(browser, address, state="empty")
        assert "python train.py" in page.one(".empty").text
        for step in 0, 7:
            writer.add_summary(summary_of(made(["a", "b"], [2], step), "validation"), step)
            writer.flush()
            page.ready(step=step)
        page.one("input[aria-label='Step']").send_keys(Keys.ARROW_LEFT)
        page.ready(step=0)
        writer.add_summary(summary_of(made(["a", "b"], [2], 9), "validation"), 9)
        writer.flush()
        wait_until(lambda: "of 3" in page.one(".timeline output").text)
        assert page.data("step") == "0"  # whoever looks back is left where they are


@contextmanager
def proxied(address: str, refused: str = "none") -> Iterator[str]:
    """The address of a server that passes requests on, under a prefix; all but those of one file."""
    passed_on = ProxyMiddleware(NotFound(), {"/a/prefix/": {"target": address, "remove_prefix": True}})

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        refuses = environ["PATH_INFO"].endswith(f"/{refused}")
        return (NotFound() if refuses else passed_on)(environ, start_response)

    with make_server("127.0.0.1", 0, application, threaded=True) as server:
        Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.port}/a/prefix"
        finally:
            server.shutdown()


def test_behind_a_proxy_with_a_prefix_the_tab_opens_or_says_that_it_cannot(browser: WebDriver, address: str) -> None:
    with proxied(address) as outer:
        assert Page(browser, outer, framed=True).titles() == ["head 1.1"]
    with proxied(address, refused="map.js") as outer:
        page = Page(browser, outer, framed=True, state="")
        page.until("document.body?.textContent.startsWith('The Attention tab could not be loaded.')")


def test_the_tab_asks_less_often_while_nothing_changes_and_never_while_hidden(browser: WebDriver, address: str) -> None:
    page = Page(browser, address, framed=True)
    page.script("""
        const { setTimeout } = window;
        window.pauses = [];
        window.setTimeout = (done, pause) => {
            if (pause > 10_000) return setTimeout(done, pause); // of the driver
            window.pauses.push(pause);
            if (!window.still) setTimeout(done, 1);
        };
    """)
    page.until("pauses.at(-1) === 10_000")
    pauses = page.script("return pauses")  # once: the tab goes on asking
    assert pauses == sorted(pauses)
    page.script("pauses.length = 0; frameElement.style.visibility = 'hidden'")  # as TensorBoard does
    page.until("pauses.length > 1")
    asked = "performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/runs?')).length"
    before = page.script(f"return {asked}")
    page.until("pauses.length > 5")
    page.script("pauses.length = 0; window.still = true")
    page.until("pauses.length === 1")
    assert page.script(f"return {asked}") == before
    page.script("frameElement.style.visibility = ''")
    page.until(f"{asked} > {before}")


def test_a_link_reopens_the_same_view(browser: WebDriver, address: str) -> None:
    view: dict[str, Any] = {
        "run": "two",
        "step": 10,
        "heads": "1.2,2.3",
        "position": 5,
        "direction": "to",
        "metric": "entropy",
    }
    view |= {"otherRun": "one", "otherStep": 5, "shows": "second", "sorted": "true", "tag": probe_tag("probe_1")}
    page = Page(browser, address, framed=True, **view)

    def seen() -> list[str]:
        return [page.one(selector).text for selector in (".details", ".timeline output", ".maps", ".heads")]

    before = seen()
    page.click("Link")
    link = page.one("input[aria-label='Link to this view']").get_attribute("value")
    assert link
    assert link.startswith(f"{address}/?darkMode=false#attention&")
    page = Page(browser, address, framed=True)
    assert seen() != before
    open_tab(browser, link, framed=True)
    page.ready(step=10)
    assert seen() == before


def test_a_link_to_a_run_that_comes_later_waits_for_it(browser: WebDriver, tmp_path: Path) -> None:
    log(tmp_path / "early", {0: made(list("abc"), [1])})
    with tensorboard(tmp_path) as address:
        wait_until(lambda: len(last_steps(address)) == 1)
        page = Page(browser, address, run="toString", position=6)
        assert page.one(".alert").text == "There is no run toString here."
        assert page.chosen("Run") == "early"
        assert "Point at" in page.one(".details").text  # no such position in this text
        log(tmp_path / "toString", {0: made(list("abcdefgh"), [1])})
        wait_until(lambda: page.chosen("Run") == "toString")
        assert not page.one(".alert").is_displayed()
        assert "position 6" in page.one(".details").text


def test_a_link_that_is_opened_in_the_open_page_is_followed(browser: WebDriver, address: str) -> None:
    page = Page(browser, address, framed=True, run="one")
    browser.switch_to.default_content()
    page.script("location.hash = '#attention&p.attention.run=two&p.attention.step=5'")
    enter_frame(browser)
    page.ready(step=5)
    assert page.chosen("Run") == "two"


def test_the_view_is_saved_as_svg_and_png_and_the_weights_as_npz(
    browser: WebDriver, address: str, downloads: Path
) -> None:
    for before in downloads.iterdir():
        before.unlink()
    page = Page(browser, address, framed=True, run="one", tag=probe_tag("probe_1"), step=15, position=4)
    page.choose("Compare with", "two")
    for name in "SVG", "PNG", "Weights (.npz)":
        page.click(name)
    files = {kind: downloads / f"attention_step_15.{kind}" for kind in ("svg", "png", "npz")}
    wait_until(lambda: all(file.exists() and file.stat().st_size > 0 for file in files.values()))
    assert page.one(".alert").is_displayed() is False

    root = ElementTree.fromstring(files["svg"].read_text(encoding="utf-8"))
    written = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert written[:2] == ["one, probe 1, step 15", "two, probe 1, step 15"]
    assert {"first − second", "U+202E", "👍", "␌", "2.1"} <= set(written)
    images = list(root.iter("{http://www.w3.org/2000/svg}image"))
    assert len(images) == 4 + 3  # heads and maps

    with Image.open(io.BytesIO(files["png"].read_bytes())) as picture:
        assert picture.size == (2 * int(root.attrib["width"]), 2 * int(root.attrib["height"]))
        colours = picture.convert("RGB").getcolors(2**24)
    assert colours
    assert len(colours) > 50  # the maps are in it
    snapshot = stored(address, "one", 15, "probe_1")
    found = np.load(files["npz"])
    np.testing.assert_array_equal(found["layer_1"], snapshot.weights[:3])
    np.testing.assert_array_equal(found["layer_2"], snapshot.weights[3:])


@pytest.mark.parametrize("dark", [False, True])
def test_the_tab_is_as_dark_as_tensorboard(browser: WebDriver, address: str, dark: bool) -> None:
    page = Page(browser, address, framed=True, dark=dark)
    assert page.script("return document.documentElement.dataset.theme") == ("dark" if dark else "light")
    paper = page.script("return getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(33, 33, 33)" if dark else "rgb(255, 255, 255)")
    before = page.script("return document.querySelector('.map canvas').toDataURL()")
    browser.switch_to.default_content()
    page.script("document.body.classList.toggle('dark-mode')")  # as TensorBoard's own button does
    enter_frame(browser)
    wait_until(lambda: page.script("return document.documentElement.dataset.theme") == ("light" if dark else "dark"))
    assert page.script("return document.querySelector('.map canvas').toDataURL()") != before


def test_nothing_overflows_from_narrow_to_wide(browser: WebDriver, address: str) -> None:
    page = Page(browser, address, framed=True, run="one", position=7)
    measure = """
        const ends = (parts) => [...document.querySelectorAll(parts)].map((part) => part.getBoundingClientRect().right);
        const controls = ".row > *, .row select, .row button, .text span"; // what no part of the page scrolls to
        const { clientWidth, scrollWidth } = document.documentElement;
        return [Math.max(scrollWidth, ...ends(controls)), clientWidth, innerWidth];
    """
    for other in "", "two":
        Select(page.one("select[aria-label='Compare with']")).select_by_value(other)
        page.ready()
        page.script("for (const each of document.querySelectorAll('option')) each.text += ' long'.repeat(30)")
        for width in 2560, 1920, 1280, 1024, 1023, 768, 390, 360:
            page.script("window.frameElement.style.width = `${arguments[0]}px`", width)
            end, room, inner = page.script(measure)
            assert end <= room <= inner == width
            for part in page.all(".heads, .map:not([hidden]), .text, .details"):
                assert part.rect["width"] > 150
    page.one("[data-head='1.2']").click()
    page.one("[data-position='9']").click()
    assert "position 9" in page.one(".details h3").text


def test_help_says_what_every_metric_is(browser: WebDriver, address: str) -> None:
    page = Page(browser, address, run="one")
    page.click("Help")
    said = page.one("dialog").text
    names = [option.text for option in Select(page.one("select[aria-label='Heads by']")).options]
    assert len(names) == len(stored(address, "one", 20).metrics) + 1 == 8  # and ablation
    assert all(name in said for name in names)
    page.press(Keys.ESCAPE)
    assert not page.one("dialog").is_displayed()


def test_a_damaged_snapshot_and_a_server_that_is_gone_are_said_in_words(browser: WebDriver, tmp_path: Path) -> None:
    summary = summary_of(made(["a", "b"], [1]), "validation")
    damaged = bytearray(summary.value[0].tensor.string_val[0])
    damaged[-1] ^= 1
    summary.value[0].tensor.string_val[0] = bytes(damaged)
    with closing(EventWriter(tmp_path / "run")) as writer:
        writer.add_summary(summary)
    with tensorboard(tmp_path) as address:
        wait_until(lambda: bool(last_steps(address)))
        page = Page(browser, address, state="failed")
        expected = "This snapshot cannot be read: expected undamaged, compressed content."
        assert page.one(".alert").text == expected
    wait_until(lambda: page.one(".alert").text == "TensorBoard does not answer. Is it still running?")


@pytest.mark.parametrize("browser", ["chromium"], indirect=True)  # the others do not tell
def test_the_page_makes_no_complaint(browser: Chrome, address: str) -> None:
    browser.get_log("browser")  # type: ignore[no-untyped-call] # forget what was said before
    Page(browser, address, run="two", otherRun="one")
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
