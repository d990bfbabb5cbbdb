"""Two runs or two steps beside each other in the tab, in real browsers."""

from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import Select

from bench.browser import tensorboard, wait_until
from tests.attention_tab.helpers import last_steps, log, made
from tests.attention_tab.page import Page, assert_lists, stored

pytestmark = pytest.mark.slow


def test_two_runs_are_compared_side_by_side_with_their_difference(browser: WebDriver, address: str) -> None:
    page = Page(browser, address, run="one", step=10)
    page.choose("Compare with", "two")
    assert page.titles() == ["first, one, step 10: head 1.1", "second, two, step 10: head 1.1", "first − second"]
    one, two = (stored(address, name, 10).weights[0, 13] for name in ("one", "two"))
    page.hover(13)
    for position, (first, second, difference) in page.rows().items():
        assert [first, second, difference] == pytest.approx(
            [one[position], two[position], one[position] - two[position]], abs=6e-5
        )
    assert len([mark for mark in page.all(".maps .cross") if mark.is_displayed()]) == 3
    assert "difference" in [legend.text.partition("\n")[0] for legend in page.all(".legend > span:first-child")]
    page.choose("Grid shows", "first − second")
    level = stored(address, "one", 10).weights[0] - stored(address, "two", 10).weights[0]
    assert page.pixel("[data-head='1.1'] canvas", 13, 5) == page.pixel(".map:last-child canvas", 13, 5)
    warm = page.pixel(".map:last-child canvas", *np.unravel_index(level.argmax(), level.shape))
    assert warm[0] > warm[2]  # orange where the first is larger, blue where the second is
    cold = page.pixel(".map:last-child canvas", *np.unravel_index(level.argmin(), level.shape))
    assert cold[0] < cold[2]
    page.choose("Grid shows", "second")
    assert len(page.all(".heads button")) == 6
    page.one("[data-head='2.3']").click()
    assert page.one(".note").text == "Not every run has head 2.3."
    assert page.titles() == ["second, two, step 10: head 2.3"]
    page.hover(13)
    assert_lists(page.rows(), stored(address, "two", 10).weights[5, 13])
    page.all("button[aria-label='Previous step']")[0].click()
    page.ready(step=5)
    assert page.titles() == ["second, two, step 5: head 2.3"]


def test_two_steps_of_one_run_are_compared(browser: WebDriver, address: str) -> None:
    page = Page(browser, address, run="two", heads="2.2")
    page.choose("Compare with", "another step of this run")
    assert page.titles()[:2] == ["first, step 20: head 2.2", "second, step 0: head 2.2"]
    page.all("button[aria-label='Next step']")[1].click()
    wait_until(lambda: page.titles()[1] == "second, step 5: head 2.2")
    page.hover(15)
    late, early = (stored(address, "two", step).weights[4, 15] for step in (20, 5))
    for position, numbers in page.rows().items():
        assert numbers == pytest.approx([late[position], early[position], late[position] - early[position]], abs=6e-5)


def test_another_run_brings_its_own_choices(browser: WebDriver, address: str) -> None:
    page = Page(browser, address, run="one")
    options = Select(page.one("select[aria-label='Compare with']")).options
    assert [each.text for each in options] == ["nothing", "another step of this run", "two"]
    page.choose("Run", "two")
    options = Select(page.one("select[aria-label='Compare with']")).options
    assert [each.text for each in options] == ["nothing", "one", "another step of this run"]


def test_different_texts_are_shown_and_never_subtracted(browser: WebDriver, tmp_path: Path) -> None:
    log(tmp_path / "a", {0: made(list("abcd"), [1], seed=1)})
    log(tmp_path / "b", {0: made(list("dcba"), [1], seed=2)})
    with tensorboard(tmp_path) as address:
        wait_until(lambda: len(last_steps(address)) == 2)
        page = Page(browser, address, run="a", otherRun="b", position=3, shows="difference")
        assert page.one(".note").text == "The two are of different texts; the first is shown below."
        assert page.titles() == ["first, a, step 0: head 1.1", "second, b, step 0: head 1.1"]
        assert all(len(numbers) == 1 for numbers in page.rows().values())
        assert len([mark for mark in page.all(".maps .cross") if mark.is_displayed()]) == 1
