"""Around the tab, in a real Chromium: new snapshots, links, files, themes, widths, failures."""

import io
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.support.ui import Select

from attention_tab.format import probe_tag
from bench.browser import enter_frame, open_tab, tensorboard, wait_until
from board.snapshots import summary_of
from board.writer import EventWriter
from tests.attention_tab.helpers import last_steps, log, made
from tests.attention_tab.page import Page, stored

pytestmark = pytest.mark.slow


def test_new_snapshots_appear_while_training_goes_on_under_a_prefix_too(chrome: Chrome, tmp_path: Path) -> None:
    with (
        closing(EventWriter(tmp_path / "run")) as writer,
        tensorboard(tmp_path, "--path_prefix", "/some/where") as address,
    ):
        page = Page(chrome, address, state="empty")
        assert "python train.py" in page.one(".empty").text
        for step in 0, 7:
            writer.add_summary(summary_of("validation", made(["a", "b"], [2], step)), step)
            writer.flush()
            page.ready(step=step)
        page.one("input[aria-label='Step']").send_keys(Keys.ARROW_LEFT)
        page.ready(step=0)
        writer.add_summary(summary_of("validation", made(["a", "b"], [2], 9)), 9)
        writer.flush()
        wait_until(lambda: "of 3" in page.one(".timeline output").text)
        assert page.data("step") == "0"  # whoever looks back is left where they are


def test_a_link_reopens_the_same_view(chrome: Chrome, address: str) -> None:
    view: dict[str, Any] = {
        "run": "two",
        "step": 10,
        "heads": "1.2,2.3",
        "position": 5,
        "direction": "to",
        "metric": "entropy",
    }
    view |= {"otherRun": "one", "otherStep": 5, "shows": "second", "sorted": "true", "tag": probe_tag("probe_1")}
    page = Page(chrome, address, framed=True, **view)

    def seen() -> list[str]:
        return [page.one(selector).text for selector in (".details", ".timeline output", ".maps", ".heads")]

    before = seen()
    next(each for each in page.all("button") if each.text == "Link").click()
    link = page.one("input[aria-label='Link to this view']").get_attribute("value")
    assert link
    assert link.startswith(f"{address}/?darkMode=false#attention&")
    page = Page(chrome, address, framed=True)
    assert seen() != before
    open_tab(chrome, link, framed=True)
    page.ready(step=10)
    assert seen() == before


def test_a_link_to_a_run_that_comes_later_waits_for_it(chrome: Chrome, tmp_path: Path) -> None:
    log(tmp_path / "early", {0: made(list("abc"), [1])})
    with tensorboard(tmp_path) as address:
        wait_until(lambda: len(last_steps(address)) == 1)
        page = Page(chrome, address, run="toString", position=6)
        assert page.one(".alert").text == "There is no run toString here."
        assert page.chosen("Run") == "early"
        assert "Point at" in page.one(".details").text  # no such position in this text
        log(tmp_path / "toString", {0: made(list("abcdefgh"), [1])})
        wait_until(lambda: page.chosen("Run") == "toString")
        assert not page.one(".alert").is_displayed()
        assert "position 6" in page.one(".details").text


def test_a_link_that_is_opened_in_the_open_page_is_followed(chrome: Chrome, address: str) -> None:
    page = Page(chrome, address, framed=True, run="one")
    chrome.switch_to.default_content()
    page.script("location.hash = '#attention&p.attention.run=two&p.attention.step=5'")
    enter_frame(chrome)
    page.ready(step=5)
    assert page.chosen("Run") == "two"


def test_the_view_is_saved_as_svg_and_png_and_the_weights_as_npz(chrome: Chrome, address: str, downloads: Path) -> None:
    page = Page(chrome, address, run="one", tag=probe_tag("probe_1"), step=15, position=4)
    page.choose("Compare with", "two")
    for name in "SVG", "PNG", "Weights (.npz)":
        next(each for each in page.all("button, a.button") if each.text == name).click()
    files = {kind: downloads / f"attention_step_15.{kind}" for kind in ("svg", "png", "npz")}
    wait_until(lambda: all(file.exists() for file in files.values()))
    assert page.one(".alert").is_displayed() is False

    root = ElementTree.fromstring(files["svg"].read_text(encoding="utf-8"))
    written = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert written[:2] == ["one, probe 1, step 15", "two, probe 1, step 15"]
    assert {"first − second", "U+202E", "👍", "␌", "2.1"} <= set(written)
    images = list(root.iter("{http://www.w3.org/2000/svg}image"))
    assert len(images) == 4 + 3  # heads and maps

    with Image.open(io.BytesIO(files["png"].read_bytes())) as picture:
        assert picture.size == (2 * int(root.attrib["width"]), 2 * int(root.attrib["height"]))
        colours = np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)
    assert len(colours) > 50  # the maps are in it
    snapshot = stored(address, "one", 15, "probe_1")
    found = np.load(files["npz"])
    np.testing.assert_array_equal(found["layer_1"], snapshot.weights[:3])
    np.testing.assert_array_equal(found["layer_2"], snapshot.weights[3:])


@pytest.mark.parametrize("dark", [False, True])
def test_the_tab_is_as_dark_as_tensorboard(chrome: Chrome, address: str, dark: bool) -> None:
    page = Page(chrome, address, framed=True, dark=dark)
    assert page.script("return document.documentElement.dataset.theme") == ("dark" if dark else "light")
    paper = page.script("return getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(33, 33, 33)" if dark else "rgb(255, 255, 255)")
    before = page.script("return document.querySelector('.map canvas').toDataURL()")
    chrome.switch_to.default_content()
    page.script("document.body.classList.toggle('dark-mode')")  # as TensorBoard's own button does
    enter_frame(chrome)
    wait_until(lambda: page.script("return document.documentElement.dataset.theme") == ("light" if dark else "dark"))
    assert page.script("return document.querySelector('.map canvas').toDataURL()") != before


@pytest.mark.parametrize("width", [1024, 1280, 1920, 2560])
def test_nothing_overflows_from_narrow_to_wide(chrome: Chrome, address: str, width: int) -> None:
    size = chrome.get_window_size()
    try:
        chrome.set_window_size(width, 900)
        page = Page(chrome, address, framed=True, run="one", position=7)
        for other in "nothing", "two":
            page.choose("Compare with", other)
            assert page.script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            for part in page.all(".heads, .map, .text, .details"):
                assert part.rect["width"] > 150
    finally:
        chrome.set_window_size(size["width"], size["height"])


def test_help_says_what_every_metric_is(chrome: Chrome, address: str) -> None:
    page = Page(chrome, address, run="one")
    next(each for each in page.all("button") if each.text == "Help").click()
    said = page.one("dialog").text
    names = [option.text for option in Select(page.one("select[aria-label='Heads by']")).options]
    assert len(names) == len(stored(address, "one", 20).metrics) == 5
    assert all(name in said for name in names)
    page.press(Keys.ESCAPE)
    assert not page.one("dialog").is_displayed()


def test_a_damaged_snapshot_and_a_server_that_is_gone_are_said_in_words(chrome: Chrome, tmp_path: Path) -> None:
    summary = summary_of("validation", made(["a", "b"], [1]))
    damaged = bytearray(summary.value[0].tensor.string_val[0])
    damaged[-1] ^= 1
    summary.value[0].tensor.string_val[0] = bytes(damaged)
    with closing(EventWriter(tmp_path / "run")) as writer:
        writer.add_summary(summary)
    with tensorboard(tmp_path) as address:
        wait_until(lambda: bool(last_steps(address)))
        page = Page(chrome, address, state="failed")
        expected = "This snapshot cannot be read: expected undamaged, compressed content."
        assert page.one(".alert").text == expected
    wait_until(lambda: page.one(".alert").text == "TensorBoard does not answer. Is it still running?")


def test_the_page_makes_no_complaint(chrome: Chrome, address: str) -> None:
    chrome.get_log("browser")  # type: ignore[no-untyped-call] # forget what was said before
    Page(chrome, address, run="two", otherRun="one")
    assert chrome.get_log("browser") == []  # type: ignore[no-untyped-call]
