"""Value norms, ablation, the validation sample and chance in the tab, in real browsers, from synthetic runs."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from attention_tab.format import Snapshot
from attention_tab.statistics import Statistics
from bench.browser import tensorboard, wait_until
from tests.attention_tab.helpers import last_steps, log, made, made_statistics
from tests.attention_tab.page import Page, assert_lists, stored

pytestmark = pytest.mark.slow

TEXT, HEADS, NAMES = list("abcdefgh"), [2, 2], ["1.1", "1.2", "2.1", "2.2"]
METRICS = {"previous": np.array([0.1, 0.2, 0.3, 0.4]), "entropy": np.ones(4)}


def snapshot(seed: int) -> Snapshot:
    norms = 3 * np.random.default_rng(seed).random((4, len(TEXT)))
    return replace(made(TEXT, HEADS, seed), metrics=METRICS, chance={"previous": 0.25}, value_norms=norms)


def statistics(seed: int) -> Statistics:
    return made_statistics([TEXT, TEXT[:3]], HEADS, seed=seed)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two runs whose heads are measured at step 10, and one that has neither value norms nor statistics."""
    folder = tmp_path_factory.mktemp("measured")
    for seed, run in enumerate(("one", "two")):
        log(folder / run, {step: snapshot(step + seed) for step in (0, 20)})
        log(folder / run, {10: statistics(seed)})
    log(folder / "old", {20: replace(snapshot(0), value_norms=None)})
    with tensorboard(folder) as address:
        wait_until(lambda: sum(step for tags in last_steps(address).values() for step in tags.values()) == 80)
        yield address


def products(address: str, run: str, step: int = 20) -> np.ndarray:
    found = stored(address, run, step)
    assert found.value_norms is not None
    return np.asarray(found.weights * found.value_norms[:, None])


def signed(numbers: np.ndarray) -> list[str]:
    return [f"{number:+.3f}".replace("-", "−") for number in numbers]


def test_weights_times_value_norms_are_shown_everywhere_on_one_scale(browser: WebDriver, measured: str) -> None:
    page, expected = Page(browser, measured, run="one", heads="2.1", position=6), products(measured, "one")
    page.choose("Maps show", "weights × value norm")
    assert_lists(page.rows(), expected[2, 6])
    assert float(page.all(".legend .marks span")[4].text) == pytest.approx(expected.max(), rel=0.05)
    for query, key in (0, 0), (6, 2), (7, 7):
        assert page.pixel("[data-head='2.1'] canvas", query, key) == page.pixel(".map canvas", query, key)
    head, query, key = map(int, np.unravel_index(expected.argmax(), expected.shape))
    page.one(f"[data-head='{NAMES[head]}']").click()
    last = page.one(".legend .strip").value_of_css_property("background-image").split("rgb(")[-1].split(")")[0]
    assert page.pixel(".map canvas", query, key) == [int(part) for part in last.split(",")]
    page.one("[data-head='2.1']").click()
    page.add("[data-head='1.2']")
    assert_lists(page.rows(), expected[[2, 1], 6].mean(0))
    page.choose("Run", "old")  # which has weights alone
    assert not page.one("select[aria-label='Maps show']").is_displayed()
    assert_lists(page.rows(), stored(measured, "old", 20).weights[[2, 1], 6].mean(0))


def test_two_runs_are_compared_in_one_scale_each_with_its_own_ablation(browser: WebDriver, measured: str) -> None:
    page = Page(browser, measured, run="one", otherRun="two", heads="1.2", position=5, values="true")
    one, two = (products(measured, run)[1, 5] for run in ("one", "two"))
    for position, numbers in page.rows().items():
        assert numbers == pytest.approx([one[position], two[position], one[position] - two[position]], abs=1e-4)
    for seed, effect in enumerate(page.all(".effect")[:2]):
        here, sample = (signed(values)[1] for values in both(seed))
        words = f"switched off: {here} nats on this text, {sample} nats on the validation sample, at step 10"
        assert effect.text == words
    page.choose("Grid shows", "second")
    assert [each.text for each in page.all(".heads .off")] == signed(both(1)[0])


def both(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ablation on the text, and on the sample."""
    found = statistics(seed)
    return found.ablations["validation"], found.metrics["ablation"]


def test_ablation_colours_and_sorts_and_heads_that_harm_differ(browser: WebDriver, measured: str) -> None:
    page, (here, sample) = Page(browser, measured, run="one"), both(0)
    assert [each.text for each in page.all(".heads .off")] == signed(here)
    page.choose("Heads by", "ablation (nats/char)")
    for button, change in zip(page.all(".heads button"), here, strict=True):
        red, _, blue = page.script("return getComputedStyle(arguments[0]).borderBottomColor.match(/\\d+/g)", button)
        if button.get_attribute("aria-selected") == "false":
            assert (int(blue) > int(red)) == (change < 0)
        assert bool(button.find_elements("css selector", ".helps")) == (change < 0)
    page.choose("Measured on", "the validation sample")
    page.one("input[type='checkbox']").click()
    page.ready()
    assert [each.text for each in page.all(".heads .off")] == signed(np.sort(sample)[::-1])
    page.one("button[aria-label='Previous step']").click()
    page.ready(step=0)  # before the first evaluation
    assert page.chosen("Heads by") == "ablation (nats/char)"
    assert page.one(".effect").text == "switched off: measured at evaluations"
    assert {each.text for each in page.all(".heads .off")} == {""}


def test_metrics_are_of_the_text_or_of_the_sample_each_with_its_chance(browser: WebDriver, measured: str) -> None:
    page = Page(browser, measured, run="one", metric="previous")
    shown = {"this text": METRICS["previous"], "the validation sample": statistics(0).metrics["previous"]}
    for place, expected in shown.items():
        page.choose("Measured on", place)
        assert [float(each.text) for each in page.all(".heads .value")] == pytest.approx(expected, abs=0.006)
        assert page.one(".row .level").text == "chance 0.25" + (", at step 10" if place != "this text" else "")
        labels = [button.get_attribute("aria-label") or "" for button in page.all(".heads button")]
        assert ["at or below chance (0.25)" in label for label in labels] == list(expected <= 0.25)


def test_numbers_and_expectations_of_two_runs_are_above_the_fold(browser: WebDriver, address: str) -> None:
    before = browser.get_window_size()
    browser.set_window_size(1400, 1000)
    try:
        page = Page(browser, address, run="one", otherRun="two", position=13)
        assert len(page.all(".details div:first-child > table")) == 3  # all but what each layer expects
        page.until(
            "[...document.querySelectorAll('.details div:first-child > table')].every("
            "(table) => table.getBoundingClientRect().bottom <= innerHeight)"
        )
    finally:
        browser.set_window_size(before["width"], before["height"])
