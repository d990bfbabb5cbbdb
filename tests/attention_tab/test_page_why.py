"""The logit lens, a pinned pair and the parts of its score in the tab, in real browsers."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from bench.browser import tensorboard, wait_until
from tests.attention_tab.helpers import last_steps, log, made, made_scores
from tests.attention_tab.page import Page, stored

pytestmark = pytest.mark.slow

TEXT = list("to be or not")
SCORES = made_scores(len(TEXT), [2, 1], "dot", "sinusoidal")


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Runs that were evaluated at step 10 of 20, scoring by dot products and by the mean, and one without a lens."""
    folder = tmp_path_factory.mktemp("explained")
    for name, scores in ("dot", SCORES), ("mean", made_scores(len(TEXT), [2, 1], "mean")):
        log(folder / name, {step: made(TEXT, [2, 1], seed=step) for step in (0, 10, 20)})
        log(folder / name, {10: scores})
    log(folder / "bare", {20: replace(made(TEXT, [2, 1]), lens=None)})
    with tensorboard(folder) as address:
        wait_until(lambda: sum(map(len, last_steps(address).values())) == 5)
        yield address


def test_what_each_layer_expects_next_is_what_was_stored(browser: WebDriver, explained: str) -> None:
    page, snapshot = Page(browser, explained, run="dot", otherRun="mean", position=5), stored(explained, "dot", 20)
    assert snapshot.lens
    lenses = page.all(".lens")
    assert len(lenses) == 2
    rows = lenses[0].find_elements(By.TAG_NAME, "tr")
    assert [row.find_element(By.TAG_NAME, "th").text for row in rows] == ["embedding", "layer 1", "output"]
    for layer, row in enumerate(rows):
        for choice, cell in enumerate(row.find_elements(By.TAG_NAME, "td")):
            character = snapshot.candidates[snapshot.lens.likeliest[layer, 5, choice]]
            percent = 100 * snapshot.lens.probabilities[layer, 5, choice]
            assert cell.text == f"{character.replace(' ', '·')} {percent:.0f}"
            assert ("came" in str(cell.get_attribute("class"))) == (character == TEXT[6])
    assert Page(browser, explained, run="bare", position=5).all(".lens") == []


def test_a_click_on_a_map_pins_a_pair_and_explains_its_score(browser: WebDriver, explained: str) -> None:
    page = Page(browser, explained, run="dot", step=10)
    canvas, side = page.one(".map canvas"), page.one(".map canvas").rect["width"]
    x, y = (int(side * ((position + 0.5) / len(TEXT) - 0.5)) for position in (4, 9))
    ActionChains(browser).move_to_element_with_offset(canvas, x, y).click().perform()
    assert pressed(page) == [4, 9]
    assert "position 9" in page.one(".details h3").text
    page.hover(2)  # which changes nothing
    assert page.one(".details .here").find_elements(By.TAG_NAME, "td")[2].text == "4"
    assert page.one(".cell").is_displayed()
    scores = SCORES.layers[0].query[0, 9] @ SCORES.layers[0].key[0, :10].T * SCORES.layers[0].scale
    wait_until(lambda: f"score {number(scores[4])}, " in page.one(".why").text)
    weight = float(page.one(".why p").text.split(" = ")[1][:6])
    assert weight == pytest.approx(np.exp(scores[4]) / np.exp(scores).sum(), abs=2e-4)
    above = [cell.text for cell in page.all(".why .columns td:nth-child(3)")]
    assert sum(float(each.replace("−", "-")) for each in above) == pytest.approx(scores[4] - scores.mean(), abs=0.011)
    assert len(page.all(".why .kinds tr")) == 3
    ActionChains(browser).move_to_element_with_offset(canvas, x, y).click().perform()
    assert pressed(page) == []


def test_keys_pin_a_pair_and_a_link_reopens_it(browser: WebDriver, explained: str) -> None:
    page = Page(browser, explained, run="dot")
    page.script("document.querySelector('[data-position=\"0\"]').focus()")
    page.press(Keys.ARROW_RIGHT, Keys.ENTER, Keys.END)
    ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
    assert pressed(page) == [1, 11]
    assert "position 11" in page.one(".details h3").text  # a query is the later of the two
    page.choose("A character", "is attended to by")
    assert "position 1," in page.one(".details h3").text
    page.click("Link")
    view = page.one("input[aria-label='Link to this view']").get_attribute("value") or ""
    assert "p.attention.position=1&p.attention.beside=11" in view
    page = Page(browser, explained, run="dot", position=1, beside=11, direction="to")
    assert pressed(page) == [1, 11]
    page.script("document.querySelector('[data-position=\"3\"]').focus()")
    page.press(Keys.ESCAPE)
    assert pressed(page) == []


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (
            {"run": "dot", "step": 0},
            "No scores of head 1.1 in this text by step 0: evaluations log them, and a saved page has the last.",
        ),
        ({"run": "dot", "step": 20}, "head 1.1 at step 10, the last evaluation by step 20: score"),
        ({"run": "dot", "heads": "1.1,1.2"}, "Choose one head"),
        ({"run": "mean"}, "every key counts alike, 1/10 = 0.1000."),
    ],
)
def test_what_cannot_be_explained_is_said(browser: WebDriver, explained: str, view: dict[str, Any], words: str) -> None:
    page = Page(browser, explained, position=9, beside=4, **view)
    wait_until(lambda: words in page.one(".why").text)


def pressed(page: Page) -> list[int]:
    return [int(each.get_attribute("data-position") or -1) for each in page.all(".text [aria-pressed='true']")]


def number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")
