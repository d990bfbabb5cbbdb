"""The tab in a real Chromium, on runs that a real training has logged."""

import io
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select
from torch.utils.tensorboard import SummaryWriter

from attention_tab.format import Snapshot, decode, probe_tag
from bench.browser import NoBrowserError, address_of_view, chromium, tensorboard, wait_until
from tests.attention_tab.helpers import get, last_steps, log, made
from tests.commands.helpers import run
from training.snapshots import summary_of, write

HOSTILE = (
    "<script>window.hacked=1</script><img src=x onerror='hacked=1'>\"&amp;\t\u202eabc\u202c e\u0301 👍🏽 字 שלום\f\n"
)
PROBE = 'e\u0301<b>\u202e👍字\t"&\f'
SHOWN = ["e", "◌\u0301", "<", "b", ">", "U+202E", "👍", "字", "→", '"', "&", "␌"]
SMALL = ["runtime.device=cpu", "model.layers=2", "model.heads=3", "model.width=24", "model.context=16"]
SHORT = ["training.steps=20", "training.batch_size=4", "training.evaluate_every=20", "board.attention_every=5"]
STEPS = [0, 5, 10, 15, 20]


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def chrome(downloads: Path) -> Iterator[Chrome]:
    try:
        with chromium(downloads) as chrome:
            yield chrome
    except NoBrowserError as missing:
        if "browser" in os.environ.get("CHARSCOPE_REQUIRE", ""):
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of 20 steps on a hostile text; in the first, layers have different numbers of heads."""
    folder = tmp_path_factory.mktemp("board")
    (folder / "text.txt").write_text(HOSTILE * 40, encoding="utf-8")
    for name, kinds in ("one", "[multi,single]"), ("two", "[multi,multi]"):
        given = ["data.path=text.txt", f"board.probe={PROBE}", f"model.attention={kinds}", f"hydra.run.dir=runs/{name}"]
        done = run("train", *SMALL, *SHORT, *given, folder=folder)
        assert (done.returncode, done.stderr) == (0, "")
    return folder / "runs"


@pytest.fixture(scope="module")
def address(logdir: Path) -> Iterator[str]:
    with tensorboard(logdir) as address:
        wait_until(lambda: last_steps(address).keys() == {"one", "two"})
        wait_until(lambda: all(last == 20 for tags in last_steps(address).values() for last in texts(tags)))
        yield address


def texts(tags: dict[str, int]) -> list[int]:
    return [last for tag, last in tags.items() if not tag.endswith("encoding")]


class Page:
    """The tab as somebody uses it."""

    def __init__(
        self, chrome: Chrome, address: str, *, framed: bool = False, state: str = "ready", **view: Any
    ) -> None:
        self.chrome = chrome
        chrome.get("about:blank")  # or a change of the hash alone would load nothing
        chrome.get(address_of_view(address, framed=framed, **view))
        if framed:
            wait_until(lambda: bool(self.all("iframe[src*='name=attention']")))
            chrome.switch_to.frame(self.one("iframe[src*='name=attention']"))
        self.ready(state)

    def ready(self, state: str = "ready", step: int | None = None) -> None:
        wait_until(lambda: self.data("state") == state and step in (None, int(self.data("step") or -1)))

    def data(self, name: str) -> str:
        return self.script(f"return document.body?.dataset.{name} ?? ''")

    def script(self, code: str, *given: object) -> Any:
        return self.chrome.execute_script(code, *given)

    def one(self, selector: str) -> WebElement:
        return self.chrome.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.chrome.find_elements(By.CSS_SELECTOR, selector)

    def choose(self, label: str, text: str) -> None:
        Select(self.one(f"select[aria-label='{label}']")).select_by_visible_text(text)
        self.ready()

    def hover(self, place: int) -> None:
        ActionChains(self.chrome).move_to_element(self.one(f"[data-place='{place}']")).perform()

    def press(self, *keys: str) -> None:
        ActionChains(self.chrome).send_keys(*keys).perform()

    def pixel(self, selector: str, query: int, key: int) -> list[int]:
        """Red, green and blue of one weight."""
        code = "const [selector, y, x] = arguments; const context = document.querySelector(selector).getContext('2d');"
        code += "return [...context.getImageData(x, y, 1, 1).data]"
        return list(self.script(code, selector, int(query), int(key))[:3])

    def rows(self) -> dict[int, list[float]]:
        """The characters listed and what the columns of numbers say."""
        found = {}
        for row in self.all(".details table:not(.next) tr:has(td)"):
            _, _, place, _, *numbers = [cell.text for cell in row.find_elements(By.TAG_NAME, "td")]
            found[int(place)] = [float(number.replace("−", "-")) for number in numbers]
        return found

    def titles(self) -> list[str]:
        return [caption.text for caption in self.all("figcaption")]


def stored(address: str, run: str, step: int, name: str = "validation") -> Snapshot:
    status, _, body = get(address, "snapshot", run=run, tag=probe_tag(name), step=step)
    assert status == 200
    return decode(body)


def assert_lists(rows: dict[int, list[float]], expected: np.ndarray) -> None:
    """The largest weights, and each as it is stored."""
    assert len(rows) == min(8, np.count_nonzero(expected))
    for place, (weight, *_) in rows.items():
        assert weight == pytest.approx(expected[place], abs=6e-5)
    assert min(expected[list(rows)]) >= np.sort(expected)[-len(rows)] - 6e-5


def test_the_slider_goes_through_every_step_by_mouse_keys_and_play(chrome: Chrome, address: str) -> None:
    page = Page(chrome, address, run="one")
    assert "20 (5 of 5), latest" in page.one(".timeline output").text
    slider = page.one("input[aria-label='Step']")
    for step in reversed(STEPS[:-1]):
        slider.send_keys(Keys.ARROW_LEFT)
        page.ready(step=step)
        assert page.one(".timeline output").text.startswith(f"{step} (")
    page.one("button[aria-label='Next step']").click()
    page.ready(step=5)
    page.one("button[aria-label='Play']").click()
    page.ready(step=20)
    wait_until(
        lambda: len(page.all("button[aria-label='Play']")) == 2
    )  # the hidden slider of a second run has one, too


@pytest.mark.parametrize("step", STEPS[1:3])
def test_the_weights_of_the_hovered_character_are_those_that_were_stored(
    chrome: Chrome, address: str, step: int
) -> None:
    page, snapshot = Page(chrome, address, run="one", step=step), stored(address, "one", step)
    assert [each.get_attribute("data-head") for each in page.all(".heads button")] == ["1.1", "1.2", "1.3", "2.1"]
    for number, name in [(3, "2.1"), (1, "1.2")]:
        page.one(f"[data-head='{name}']").click()
        for place in 0, 7, 15:
            page.hover(place)
            assert_lists(page.rows(), snapshot.weights[number, place])
            here = page.all(".text .here")
            assert [each.get_attribute("data-place") for each in here] == [str(place)]

    page.choose("A character", "is attended to by")
    page.hover(4)
    assert_lists(page.rows(), snapshot.weights[1, :, 4])

    page.choose("A character", "attends to")
    page.one("[data-head='2.1']").click()
    ActionChains(chrome).key_down(Keys.CONTROL).click(page.one("[data-head='1.1']")).key_up(Keys.CONTROL).perform()
    assert page.titles() == ["mean of 2 heads"]
    page.hover(12)
    assert_lists(page.rows(), snapshot.weights[[3, 0], 12].mean(0))


def test_hovering_the_map_looks_at_the_same_character(chrome: Chrome, address: str) -> None:
    page, snapshot = Page(chrome, address, run="one", heads="1.3"), stored(address, "one", 20)
    canvas = page.one(".map canvas")
    side = canvas.size["width"]
    query, key = 11, 2
    across, down = (side * (place + 0.5) / 16 - side / 2 for place in (key, query))
    ActionChains(chrome).move_to_element_with_offset(page.one(".map svg"), 0, 0).perform()
    ActionChains(chrome).move_to_element_with_offset(canvas, int(across), int(down)).perform()
    assert page.one(".text .here").get_attribute("data-place") == str(query)
    assert page.rows()[key][0] == pytest.approx(snapshot.weights[2, query, key], abs=6e-5)
    assert page.one(".cross").is_displayed()
    assert page.one(".cell").is_displayed()


def test_the_loss_and_the_next_characters_are_those_that_were_stored(chrome: Chrome, address: str) -> None:
    page, snapshot = Page(chrome, address, run="two"), stored(address, "two", 20)
    page.hover(6)
    assert f"loss {snapshot.loss[6]:.2f} nats" in page.one(".own").text
    listed = page.all(".next tr")
    assert len(listed) == snapshot.likeliest.shape[1] == 10
    for row, probability in zip(listed, snapshot.probabilities[6], strict=True):
        shown = row.find_elements(By.TAG_NAME, "td")[2].text
        assert float(shown.rstrip(" %")) == pytest.approx(100 * probability, abs=0.51)
    page.hover(0)
    assert "nothing came before it" in page.one(".own").text


def test_a_click_pins_a_character_and_another_lets_it_go(chrome: Chrome, address: str) -> None:
    page = Page(chrome, address, run="one")
    page.hover(9)
    page.one("[data-place='9']").click()
    page.hover(3)
    assert "place 9" in page.one(".details h3").text
    assert 3 in page.rows()  # and what was hovered is listed beside
    page.one("[data-place='9']").click()
    page.hover(3)
    assert "place 3" in page.one(".details h3").text


def test_everything_is_reached_by_keys(chrome: Chrome, address: str) -> None:
    page = Page(chrome, address, run="one")
    page.script("document.querySelector('[data-head=\"1.1\"]').focus()")
    page.press(Keys.ARROW_RIGHT)
    assert page.titles() == ["head 1.2"]
    page.press(Keys.ARROW_DOWN)
    assert page.titles() == ["head 2.1"]  # the layer has one head only
    page.press(Keys.ARROW_UP)
    assert page.titles() == ["head 1.1"]
    ActionChains(chrome).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT).key_up(Keys.SHIFT).perform()
    assert page.titles() == ["mean of 2 heads"]

    page.press(Keys.TAB)
    while "A character" not in (page.script("return document.activeElement.getAttribute('aria-label')") or ""):
        page.press(Keys.TAB)
    page.press(Keys.TAB)
    focused = "return document.activeElement.dataset.place"
    assert page.script(focused) == "0"
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ENTER, Keys.END)
    assert page.script(focused) == "15"
    assert "place 2" in page.one(".details h3").text
    page.press(Keys.ESCAPE, Keys.HOME)
    assert "place 0" in page.one(".details h3").text


def test_two_runs_are_compared_side_by_side_with_their_difference(chrome: Chrome, address: str) -> None:
    page = Page(chrome, address, run="one", step=10)
    page.choose("Compare with", "two")
    assert page.titles() == ["first, one, step 10: head 1.1", "second, two, step 10: head 1.1", "first − second"]
    one, two = (stored(address, name, 10).weights[0, 13] for name in ("one", "two"))
    page.hover(13)
    for place, (first, second, difference) in page.rows().items():
        assert [first, second, difference] == pytest.approx([one[place], two[place], one[place] - two[place]], abs=6e-5)
    assert len([mark for mark in page.all(".cross") if mark.is_displayed()]) == 3
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
    assert page.one(".said").text == "Not every run has head 2.3."
    assert page.titles() == ["second, two, step 10: head 2.3"]
    page.hover(13)
    assert_lists(page.rows(), stored(address, "two", 10).weights[5, 13])
    page.all("button[aria-label='Previous step']")[0].click()
    page.ready(step=5)
    assert page.titles() == ["second, two, step 5: head 2.3"]


def test_another_run_brings_its_own_choices(chrome: Chrome, address: str) -> None:
    page = Page(chrome, address, run="one")
    options = Select(page.one("select[aria-label='Compare with']")).options
    assert [each.text for each in options] == ["nothing", "another step of this run", "two"]
    page.choose("Run", "two")
    options = Select(page.one("select[aria-label='Compare with']")).options
    assert [each.text for each in options] == ["nothing", "one", "another step of this run"]


def test_different_texts_are_shown_and_never_subtracted(chrome: Chrome, tmp_path: Path) -> None:
    log(tmp_path / "a", {0: made(list("abcd"), [1], seed=1)})
    log(tmp_path / "b", {0: made(list("dcba"), [1], seed=2)})
    with tensorboard(tmp_path) as address:
        wait_until(lambda: len(last_steps(address)) == 2)
        page = Page(chrome, address, run="a", otherRun="b", place=3, shows="difference")
        assert page.one(".said").text == "The two read different texts; below is the first's."
        assert page.titles() == ["first, a, step 0: head 1.1", "second, b, step 0: head 1.1"]
        assert all(len(numbers) == 1 for numbers in page.rows().values())
        assert len([mark for mark in page.all(".cross") if mark.is_displayed()]) == 1


def test_a_link_to_a_run_that_comes_later_waits_for_it(chrome: Chrome, tmp_path: Path) -> None:
    log(tmp_path / "early", {0: made(list("abc"), [1])})
    with tensorboard(tmp_path) as address:
        wait_until(lambda: len(last_steps(address)) == 1)
        page = Page(chrome, address, run="late", place=6)
        assert page.one(".alert").text == "There is no run late here."
        assert Select(page.one("select[aria-label='Run']")).first_selected_option.text == "early"
        assert "Point at" in page.one(".details").text  # no such place in this text
        log(tmp_path / "late", {0: made(list("abcdefgh"), [1])})
        wait_until(lambda: Select(page.one("select[aria-label='Run']")).first_selected_option.text == "late")
        assert not page.one(".alert").is_displayed()
        assert "place 6" in page.one(".details").text


def test_a_link_that_is_opened_in_the_open_page_is_followed(chrome: Chrome, address: str) -> None:
    page = Page(chrome, address, framed=True, run="one")
    chrome.switch_to.default_content()
    page.script("location.hash = '#attention&p.attention.run=two&p.attention.step=5'")
    chrome.switch_to.frame(page.one("iframe[src*='name=attention']"))
    page.ready(step=5)
    assert Select(page.one("select[aria-label='Run']")).first_selected_option.text == "two"


def test_playing_again_is_no_faster(chrome: Chrome, address: str) -> None:
    page = Page(chrome, address, run="one", step=0)
    page.script("""
        window.seen = [];
        new MutationObserver(() => window.seen.push(document.body.dataset.step))
            .observe(document.body, { attributeFilter: ["data-step"] });
        const play = document.querySelector("button[aria-label='Play']");
        for (let i = 0; i < 5; i++) play.click();
        window.begun = performance.now();
    """)
    page.ready(step=20)
    assert page.script("return performance.now() - window.begun") > 4 * 250  # four steps, each after its pause
    assert page.script("return window.seen") == ["5", "10", "15", "20"]


def test_two_steps_of_one_run_are_compared(chrome: Chrome, address: str) -> None:
    page = Page(chrome, address, run="two", heads="2.2")
    page.choose("Compare with", "another step of this run")
    assert page.titles()[:2] == ["first, step 20: head 2.2", "second, step 0: head 2.2"]
    page.all("button[aria-label='Next step']")[1].click()
    wait_until(lambda: page.titles()[1] == "second, step 5: head 2.2")
    page.hover(15)
    late, early = (stored(address, "two", step).weights[4, 15] for step in (20, 5))
    for place, numbers in page.rows().items():
        assert numbers == pytest.approx([late[place], early[place], late[place] - early[place]], abs=6e-5)


def test_heads_are_coloured_and_sorted_by_a_metric(chrome: Chrome, address: str) -> None:
    page, snapshot = Page(chrome, address, run="two"), stored(address, "two", 20)
    page.choose("Heads by", "distance (characters)")
    values = [float(each.text) for each in page.all(".heads .value")]
    assert values == pytest.approx(snapshot.metrics["distance"], abs=0.006)
    page.one("input[type='checkbox']").click()
    page.ready()
    ordered = [float(each.text) for each in page.all(".heads .value")]
    assert ordered == sorted(values, reverse=True)


def test_the_curves_of_all_heads_are_drawn_and_a_click_goes_to_a_step(chrome: Chrome, address: str) -> None:
    page = Page(chrome, address, run="two")
    assert page.titles() == ["head 1.1"]
    assert len(page.all(".chart .line")) >= 6
    assert page.one(".chart svg").get_attribute("aria-label") == "previous character against step, 6 curves"
    assert page.one(".chart .key").text == "━ head 1.1"
    drawing = page.one(".chart svg")
    page.script("arguments[0].scrollIntoView()", drawing)
    ActionChains(chrome).move_to_element(drawing).click().perform()
    page.ready(step=10)


def test_the_positional_encoding_has_a_map_curves_and_labelled_axes(chrome: Chrome, address: str) -> None:
    page = Page(chrome, address, run="one", columns="1")
    assert "rotary" in page.one(".encoding p").text
    canvas = page.one(".encoding canvas")
    assert (canvas.get_attribute("width"), canvas.get_attribute("height")) == ("8", "16")
    axes = [label.text for label in page.all(".encoding .axis")]
    assert axes == ["column", "position", "position", "value"]
    assert len(page.all(".encoding .line")) == 1
    page.script("arguments[0].scrollIntoView()", page.one(".encoding"))
    ActionChains(chrome).move_to_element(page.one(".encoding .table svg")).click().perform()
    wait_until(lambda: len(page.all(".encoding .line")) == 2)


def test_every_probe_is_a_text_and_a_hostile_one_is_shown_and_never_run(chrome: Chrome, address: str) -> None:
    page = Page(chrome, address, run="one")
    assert "".join(stored(address, "one", 20).tokens) in HOSTILE * 2
    page.choose("Text", "probe 1")
    assert [span.get_attribute("textContent") for span in page.all(".text span")] == SHOWN
    assert stored(address, "one", 20, "probe_1").tokens == list(PROBE)
    for place in range(len(SHOWN)):
        page.script(f"document.querySelector(\"[data-place='{place}']\").focus()")
    assert page.script("return window.hacked ?? null") is None
    assert page.all(".tab script, .tab img, .text b") == []


def test_new_snapshots_appear_while_training_goes_on_under_a_prefix_too(chrome: Chrome, tmp_path: Path) -> None:
    with (
        closing(SummaryWriter(str(tmp_path / "run"), flush_secs=1)) as writer,
        tensorboard(tmp_path, "--path_prefix", "/some/where") as address,
    ):
        page = Page(chrome, address, state="empty")
        assert "python train.py" in page.one(".empty").text
        for step in 0, 7:
            write(writer, summary_of("validation", made(["a", "b"], [2], step)), step)
            page.ready(step=step)
        page.one("input[aria-label='Step']").send_keys(Keys.ARROW_LEFT)
        page.ready(step=0)
        write(writer, summary_of("validation", made(["a", "b"], [2], 9)), 9)
        wait_until(lambda: "of 3" in page.one(".timeline output").text)
        assert page.data("step") == "0"  # whoever looks back is left where they are


def test_a_link_reopens_the_same_view(chrome: Chrome, address: str) -> None:
    view: dict[str, Any] = {
        "run": "two",
        "step": 10,
        "heads": "1.2,2.3",
        "place": 5,
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
    chrome.get("about:blank")
    chrome.get(link)
    wait_until(lambda: bool(page.all("iframe[src*='name=attention']")))
    chrome.switch_to.frame(page.one("iframe[src*='name=attention']"))
    page.ready(step=10)
    assert seen() == before


def test_the_view_is_saved_as_svg_and_png_and_the_weights_as_npz(chrome: Chrome, address: str, downloads: Path) -> None:
    page = Page(chrome, address, run="one", tag=probe_tag("probe_1"), step=15, place=4)
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
    chrome.switch_to.frame(page.one("iframe[src*='name=attention']"))
    wait_until(lambda: page.script("return document.documentElement.dataset.theme") == ("light" if dark else "dark"))
    assert page.script("return document.querySelector('.map canvas').toDataURL()") != before


@pytest.mark.parametrize("width", [1024, 1280, 1920, 2560])
def test_nothing_overflows_from_narrow_to_wide(chrome: Chrome, address: str, width: int) -> None:
    size = chrome.get_window_size()
    try:
        chrome.set_window_size(width, 900)
        page = Page(chrome, address, framed=True, run="one", place=7)
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


def test_a_damaged_snapshot_is_said_in_words(chrome: Chrome, tmp_path: Path) -> None:
    summary = summary_of("validation", made(["a", "b"], [1]))
    damaged = bytearray(summary.value[0].tensor.string_val[0])
    damaged[-1] ^= 1
    summary.value[0].tensor.string_val[0] = bytes(damaged)
    with closing(SummaryWriter(str(tmp_path / "run"))) as writer:
        write(writer, summary, 0)
    with tensorboard(tmp_path) as address:
        wait_until(lambda: bool(last_steps(address)))
        page = Page(chrome, address, state="failed")
        expected = "This snapshot cannot be read: expected it undamaged: its checksum differs."
        assert page.one(".alert").text == expected


def test_a_server_that_is_gone_is_said_in_words(chrome: Chrome, tmp_path: Path) -> None:
    log(tmp_path / "run", {0: made(["a", "b"], [1])})
    with tensorboard(tmp_path) as address:
        wait_until(lambda: bool(last_steps(address)))
        page = Page(chrome, address)
        assert not page.one(".alert").is_displayed()
    wait_until(lambda: page.one(".alert").is_displayed())
    assert page.one(".alert").text == "TensorBoard does not answer. Is it still running?"


def test_the_page_makes_no_complaint(chrome: Chrome, address: str) -> None:
    chrome.get_log("browser")  # type: ignore[no-untyped-call] # forget what was said before
    Page(chrome, address, run="two", otherRun="one")
    assert chrome.get_log("browser") == []  # type: ignore[no-untyped-call]
