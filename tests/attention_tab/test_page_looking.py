"""Heads, texts, weights, curves and encodings in the tab, in real browsers."""

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from bench.browser import wait_until
from tests.attention_tab.page import HOSTILE, PROBE, Page, assert_lists, stored

pytestmark = pytest.mark.slow

SHOWN = ["e", "◌\u0301", "<", "b", ">", "U+202E", "👍", "字", "→", '"', "&", "␌"]
STEPS = [0, 5, 10, 15, 20]


def test_the_slider_goes_through_every_step_by_mouse_keys_and_play(browser: WebDriver, address: str) -> None:
    page = Page(browser, address, run="one")
    assert "20 (5 of 5), latest" in page.one(".timeline output").text
    slider = page.one("input[aria-label='Step']")
    for step in reversed(STEPS[:-1]):
        slider.send_keys(Keys.ARROW_LEFT)
        page.ready(step=step)
        assert page.one(".timeline output").text.startswith(f"{step} (")
    page.one("button[aria-label='Next step']").click()
    page.ready(step=5)
    page.one("button[aria-label='Previous step']").click()
    page.ready(step=0)
    page.script("""
        window.seen = [];
        new MutationObserver(() => window.seen.push(document.body.dataset.step))
            .observe(document.body, { attributeFilter: ["data-step"] });
        const play = document.querySelector("button[aria-label='Play']");
        for (let i = 0; i < 5; i++) play.click(); // which is no faster than one
        window.begun = performance.now();
    """)
    page.ready(step=20)
    assert page.script("return performance.now() - window.begun") > 4 * 250  # four steps, each after its pause
    assert page.script("return window.seen") == ["5", "10", "15", "20"]
    # The hidden slider of a second run has one, too.
    wait_until(lambda: len(page.all("button[aria-label='Play']")) == 2)


@pytest.mark.parametrize("step", STEPS[1:3])
def test_the_weights_of_the_hovered_character_are_those_that_were_stored(
    browser: WebDriver, address: str, step: int
) -> None:
    page, snapshot = Page(browser, address, run="one", step=step), stored(address, "one", step)
    assert [each.get_attribute("data-head") for each in page.all(".heads button")] == ["1.1", "1.2", "1.3", "2.1"]
    for number, name in [(3, "2.1"), (1, "1.2")]:
        page.one(f"[data-head='{name}']").click()
        for position in 0, 7, 15:
            page.hover(position)
            assert_lists(page.rows(), snapshot.weights[number, position])
            here = page.all(".text .here")
            assert [each.get_attribute("data-position") for each in here] == [str(position)]

    page.choose("A character", "is attended to by")
    page.hover(4)
    assert_lists(page.rows(), snapshot.weights[1, :, 4])

    page.choose("A character", "attends to")
    page.one("[data-head='2.1']").click()
    page.add("[data-head='1.1']")
    assert page.titles() == ["mean of 2 heads"]
    page.hover(12)
    assert_lists(page.rows(), snapshot.weights[[3, 0], 12].mean(0))


def test_hovering_the_map_looks_at_the_same_character(browser: WebDriver, address: str) -> None:
    page, snapshot = Page(browser, address, run="one", heads="1.3"), stored(address, "one", 20)
    canvas = page.one(".map canvas")
    side = canvas.size["width"]
    query, key = 11, 2
    across, down = (side * (position + 0.5) / 16 - side / 2 for position in (key, query))
    ActionChains(browser).move_to_element_with_offset(page.one(".map svg"), 0, 0).perform()
    ActionChains(browser).move_to_element_with_offset(canvas, int(across), int(down)).perform()
    assert page.one(".text .here").get_attribute("data-position") == str(query)
    assert page.rows()[key][0] == pytest.approx(snapshot.weights[2, query, key], abs=6e-5)
    assert page.one(".cross").is_displayed()
    assert page.one(".cell").is_displayed()


def test_the_loss_and_the_next_characters_are_those_that_were_stored(browser: WebDriver, address: str) -> None:
    page, snapshot = Page(browser, address, run="two"), stored(address, "two", 20)
    page.hover(6)
    assert f"loss {snapshot.loss[6]:.2f} nats" in page.one(".own").text
    listed = page.all(".next tr")
    assert len(listed) == snapshot.likeliest.shape[1] == 10
    for row, probability in zip(listed, snapshot.probabilities[6], strict=True):
        shown = row.find_elements(By.TAG_NAME, "td")[2].text
        assert float(shown.rstrip(" %")) == pytest.approx(100 * probability, abs=0.51)
    page.hover(0)
    assert "the first character has no loss" in page.one(".own").text


def test_a_click_pins_a_character_and_another_lets_it_go(browser: WebDriver, address: str) -> None:
    page = Page(browser, address, run="one")
    page.hover(9)
    page.one("[data-position='9']").click()
    page.hover(3)
    assert "position 9" in page.one(".details h3").text
    assert 3 in page.rows()  # and what was hovered is listed beside
    page.one("[data-position='9']").click()
    page.hover(4)
    assert "position 4" in page.one(".details h3").text


def test_everything_is_reached_by_keys(browser: WebDriver, address: str) -> None:
    page = Page(browser, address, run="one")
    page.script("document.querySelector('[data-head=\"1.1\"]').focus()")
    page.press(Keys.ARROW_RIGHT)
    assert page.titles() == ["head 1.2"]
    page.press(Keys.ARROW_DOWN)
    assert page.titles() == ["head 2.1"]  # the layer has one head only
    page.press(Keys.ARROW_UP)
    assert page.titles() == ["head 1.1"]
    ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT).key_up(Keys.SHIFT).perform()
    assert page.titles() == ["mean of 2 heads"]

    page.press(Keys.TAB)
    while "A character" not in (page.script("return document.activeElement.getAttribute('aria-label')") or ""):
        page.press(Keys.TAB)
    page.press(Keys.TAB)
    focused = "return document.activeElement.dataset.position"
    assert page.script(focused) == "0"
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ENTER, Keys.END)
    assert page.script(focused) == "15"
    assert "position 2" in page.one(".details h3").text
    page.press(Keys.ESCAPE, Keys.HOME)
    assert "position 0" in page.one(".details h3").text


def test_heads_are_coloured_and_sorted_by_a_metric(browser: WebDriver, address: str) -> None:
    page, snapshot = Page(browser, address, run="two"), stored(address, "two", 20)
    page.choose("Heads by", "distance (characters)")
    values = [float(each.text) for each in page.all(".heads .value")]
    assert values == pytest.approx(snapshot.metrics["distance"], abs=0.006)
    page.one("input[type='checkbox']").click()
    page.ready()
    ordered = [float(each.text) for each in page.all(".heads .value")]
    assert ordered == sorted(values, reverse=True)


def test_the_curves_of_all_heads_are_drawn_and_a_click_goes_to_a_step(browser: WebDriver, address: str) -> None:
    page = Page(browser, address, run="two")
    assert page.titles() == ["head 1.1"]
    assert len(page.all(".forming + .chart .line")) == 6
    assert page.one(".forming + .chart svg").get_attribute("aria-label") == "previous character against step, 6 curves"
    assert page.one(".forming + .chart .key").text == "━ head 1.1"
    drawing = page.one(".forming + .chart svg")
    page.script("arguments[0].scrollIntoView()", drawing)
    ActionChains(browser).move_to_element(drawing).click().perform()
    page.ready(step=10)


def test_the_positional_encoding_has_a_map_curves_and_labelled_axes(browser: WebDriver, address: str) -> None:
    page = Page(browser, address, run="one", columns="1")
    assert "sinusoidal" in page.one(".encoding p").text
    canvas = page.one(".encoding canvas")
    assert (canvas.get_attribute("width"), canvas.get_attribute("height")) == ("24", "16")
    axes = [label.text for label in page.all(".encoding .axis")]
    assert axes == ["column", "position", "position", "value"]
    assert len(page.all(".encoding .line")) == 1
    page.script("arguments[0].scrollIntoView()", page.one(".encoding"))
    ActionChains(browser).move_to_element(page.one(".encoding .table svg")).click().perform()
    wait_until(lambda: len(page.all(".encoding .line")) == 2)


def test_every_probe_is_a_text_and_a_hostile_one_is_shown_and_never_run(browser: WebDriver, address: str) -> None:
    page = Page(browser, address, run="one")
    assert "".join(stored(address, "one", 20).tokens) in HOSTILE * 2
    page.choose("Text", "probe 1")
    assert [span.get_attribute("textContent") for span in page.all(".text span")] == SHOWN
    assert stored(address, "one", 20, "probe_1").tokens == list(PROBE)
    for position in range(len(SHOWN)):
        page.script(f"document.querySelector(\"[data-position='{position}']\").focus()")
    assert page.script("return window.hacked ?? null") is None
    assert page.all(".tab script, .tab img, .text b") == []
