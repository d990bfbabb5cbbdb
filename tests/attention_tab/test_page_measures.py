"""Losses, forming heads, two metrics and the places of heads in the tab, in real browsers, from a synthetic run."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import Select
from torch.utils.tensorboard.summary import scalar

from attention_tab.format import Snapshot
from bench.browser import tensorboard, wait_until
from board.writer import EventWriter
from tests.attention_tab.helpers import get_json, log, made, made_statistics
from tests.attention_tab.page import Page

pytestmark = pytest.mark.slow

SCORES = {0: [0.1, 0.1, 0.5], 10: [0.1, 0.4, 0.5], 20: [0.4, 0.4, 0.5], 30: [0.4, 0.4, 0.6]}
LOSSES = {0: 4.0, 15: 3.0, 30: 2.0}
RUNS = ["one", "two"]
STATISTICS = made_statistics([[*"to be, or not"], [*"<b>to be</b>"]], [2, 1], places=3)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two runs of four steps; the first has statistics of step 20."""
    folder = tmp_path_factory.mktemp("measures")
    for run in RUNS:
        log(folder / run, {step: snapshot(step) for step in SCORES})
        with closing(EventWriter(folder / run)) as writer:
            for step, loss in LOSSES.items():
                writer.add_summary(scalar("loss/training", loss), step)
    log(folder / "one", {20: STATISTICS})
    with tensorboard(folder) as address:
        last = [[step, loss] for step, loss in LOSSES.items()]
        wait_until(lambda: [get_json(address, "losses", run=run).get("training") for run in RUNS] == [last, last])
        yield address


def snapshot(step: int) -> Snapshot:
    metrics = {"entropy": np.arange(3.0), "previous": np.array(SCORES[step])}
    return replace(made([*"abab"], [2, 1], seed=step), metrics=metrics, chance={"entropy": 1.0, "previous": 0.25})


def test_losses_and_heads_have_one_time_axis_and_a_click_on_either_goes_to_a_step(
    browser: WebDriver, address: str
) -> None:
    page = Page(browser, address, run="one", otherRun="two")
    assert [each.text for each in page.all(".losses .key span")] == ["━ one, training", "┄ two, training"]
    for chart, step in (".losses", 10), (".forming + .chart", 20):
        drawing = page.one(f"{chart} svg")
        page.script("arguments[0].scrollIntoView({block: 'center'})", drawing)
        aside = int(drawing.size["width"] * ((56 + 832 * step / 30) / 900 - 0.5))
        ActionChains(browser).move_to_element_with_offset(drawing, aside, 0).click().perform()
        page.ready(step=step)
        moments = page.all(".losses .moment, .forming + .chart .moment")
        assert [float(each.get_attribute("x1") or "nan") for each in moments] == pytest.approx(
            [56 + 832 * step / 30] * 2
        )


def test_a_mark_says_which_heads_form_and_goes_there(browser: WebDriver, address: str) -> None:
    page = Page(browser, address, run="one")
    said = [mark.get_attribute("aria-label") for mark in page.all(".formed")]
    assert said == ["previous character: head 1.2 at step 10", "previous character: head 1.1 at step 20"]
    assert "first passes 0.3." in page.one(".forming .hint").text
    page.script("document.querySelector('.formed').focus()")
    page.press(Keys.ENTER)
    page.ready(step=10)
    assert page.titles()[0] == "head 1.2"


def test_two_metrics_of_all_heads_choose_heads_by_mouse_and_keys(browser: WebDriver, address: str) -> None:
    page = Page(browser, address, run="one", heads="2.1")
    points = [point.get_attribute("aria-label") for point in page.all(".point")]
    assert points[0] == "head 1.1: previous character 0.400, entropy (nats) 0.000"
    assert len(page.all(".scatter .chance")) == 2
    page.script("document.querySelector('.scatter').scrollIntoView({block: 'center'})")
    page.one("[data-point='1.2'] circle").click()
    page.until("document.querySelector('[data-point=\"1.2\"][aria-pressed=true]')")
    page.add("[data-point='2.1'] circle")
    assert page.titles()[0] == "mean of 2 heads"
    page.script("document.querySelector('[data-point=\"2.1\"]').focus()")
    page.press(Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ENTER)
    assert page.titles()[0] == "head 1.1"
    Select(page.one("select[aria-label='Against']")).select_by_value("ablation")
    page.ready()
    expected = STATISTICS.ablations["validation"]
    said = page.one("[data-point='1.1']").get_attribute("aria-label")
    assert said is not None
    assert said.endswith(f" {expected[0]:.3f}")


def test_the_places_of_a_head_are_listed_as_text_and_each_opens_its_map(browser: WebDriver, address: str) -> None:
    page = Page(browser, address, run="one", heads="1.2", step=20)
    assert page.one(".places p").text == "Head 1.2 in 2 validation sequences of one, measured at step 20."
    buttons = page.all(".places button")
    assert len(buttons) == 2
    for button, place in zip(buttons, range(2), strict=True):
        sequence, query, key = STATISTICS.places[1, place]
        page.script("arguments[0].focus()", button)
        page.press(Keys.ENTER)
        page.until(f"document.querySelectorAll('.places button')[{place}].getAttribute('aria-pressed') === 'true'")
        tokens = STATISTICS.sequences[sequence]
        assert button.find_element("css selector", ".query").text in (tokens[query], "·")
        assert f"weight {STATISTICS.maps[1, place, query, key]:.2f};" in button.text
        assert page.one(".places .map canvas").get_attribute("width") == str(len(tokens))
        assert page.one(".places .cell").is_displayed()
    assert page.all(".places code b b") == []
    page = Page(browser, address, run="one", step=10)
    assert page.one(".places p").text == "Measured at evaluations; by this step there is none."
