"""The tab in real browsers, as the tests use it."""

from typing import Any

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from attention_tab.format import Snapshot, decode, probe_tag
from bench.browser import address_of_view, open_tab, wait_until
from tests.attention_tab.helpers import get

HOSTILE = (
    "<script>window.hacked=1</script><img src=x onerror='hacked=1'>\"&amp;\t\u202eabc\u202c e\u0301 👍🏽 字 שלום\f\n"
)
PROBE = 'e\u0301<b>\u202e👍字\t"&\f'


class Page:
    """The tab as somebody uses it."""

    def __init__(
        self, browser: WebDriver, address: str, *, framed: bool = False, state: str = "ready", **view: Any
    ) -> None:
        self.browser = browser
        open_tab(browser, address_of_view(address, framed=framed, **view), framed=framed)
        self.ready(state)

    def ready(self, state: str = "ready", step: int | None = None) -> None:
        wait_until(lambda: self.data("state") == state and step in (None, int(self.data("step") or -1)))

    def data(self, name: str) -> str:
        return self.script(f"return document.body?.dataset.{name} ?? ''")

    def script(self, code: str, *given: object) -> Any:
        return self.browser.execute_script(code, *given)

    def until(self, holds: str) -> None:
        wait_until(lambda: bool(self.script(f"return {holds}")))

    def one(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def choose(self, label: str, text: str) -> None:
        Select(self.one(f"select[aria-label='{label}']")).select_by_visible_text(text)
        self.ready()

    def chosen(self, label: str) -> str:
        """Asked for at once: the page may put other options in the position of these at any moment."""
        code = "return document.querySelector(`select[aria-label='${arguments[0]}']`).selectedOptions[0].text"
        return str(self.script(code, label))

    def click(self, text: str) -> None:
        next(each for each in self.all("button, a.button") if each.text == text).click()

    def add(self, selector: str) -> None:
        """Click with Control held."""
        target = self.one(selector)
        ActionChains(self.browser).key_down(Keys.CONTROL).click(target).key_up(Keys.CONTROL).perform()

    def hover(self, position: int) -> None:
        ActionChains(self.browser).move_to_element(self.one(f"[data-position='{position}']")).perform()

    def press(self, *keys: str) -> None:
        ActionChains(self.browser).send_keys(*keys).perform()

    def pixel(self, selector: str, query: int, key: int) -> list[int]:
        """Red, green and blue of one weight."""
        code = "const [selector, y, x] = arguments; const context = document.querySelector(selector).getContext('2d');"
        code += "return [...context.getImageData(x, y, 1, 1).data]"
        return list(self.script(code, selector, int(query), int(key))[:3])

    def rows(self) -> dict[int, list[float]]:
        """The characters listed and what the columns of numbers say."""
        found = {}
        for row in self.all(".details table:not(.next, .lens) tr:has(td)"):
            _, _, position, _, *numbers = [cell.text for cell in row.find_elements(By.TAG_NAME, "td")]
            found[int(position)] = [float(number.replace("−", "-")) for number in numbers]
        return found

    def titles(self) -> list[str]:
        return [caption.text for caption in self.all(".maps figcaption")]


def stored(address: str, run: str, step: int, name: str = "validation") -> Snapshot:
    status, _, body = get(address, "snapshot", run=run, tag=probe_tag(name), step=step)
    assert status == 200
    return decode(body)


def assert_lists(rows: dict[int, list[float]], expected: np.ndarray) -> None:
    """The largest weights, and each as it is stored."""
    assert len(rows) == min(8, np.count_nonzero(expected))
    for position, (weight, *_) in rows.items():
        assert weight == pytest.approx(expected[position], abs=6e-5)
    assert min(expected[list(rows)]) >= np.sort(expected)[-len(rows)] - 6e-5
