"""Three browsers, and a TensorBoard with two runs that a real training has logged."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from attention_tab.format import probe_tag
from bench.browser import NoBrowserError, chromium, tensorboard, wait_until
from tests.attention_tab.browsers import firefox, webkit
from tests.attention_tab.helpers import last_steps
from tests.attention_tab.page import HOSTILE, PROBE
from tests.commands.helpers import run

BROWSERS = {"chromium": chromium, "firefox": firefox, "webkit": webkit}
SMALL = ["runtime.device=cpu", "model.layers=2", "model.heads=3", "model.width=24", "model.context=16"]
SHORT = ["training.steps=20", "training.batch_size=4", "training.evaluate_every=20", "board.attention_every=5"]


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="session", params=list(BROWSERS))
def browser(request: pytest.FixtureRequest, downloads: Path) -> Iterator[WebDriver]:
    try:
        with BROWSERS[request.param](downloads) as browser:
            browser.set_window_size(1280, 1000)
            yield browser
    except NoBrowserError as missing:
        if "browser" in os.environ.get("CHARSCOPE_REQUIRE", ""):
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of 20 steps on a hostile text; in the first, layers have different numbers of heads."""
    folder = tmp_path_factory.mktemp("board")
    (folder / "text.txt").write_text(HOSTILE * 40, encoding="utf-8")
    for name, kinds in ("one", "[multi,single]"), ("two", "[multi,multi]"):
        given = ["data.path=text.txt", f"board.probe={PROBE}", f"model.attention={kinds}", f"hydra.run.dir=runs/{name}"]
        done = run("train", *SMALL, *SHORT, *given, folder=folder)
        assert (done.returncode, done.stderr) == (0, "")
    return folder / "runs"


@pytest.fixture(scope="session")
def address(logdir: Path) -> Iterator[str]:
    with tensorboard(logdir) as address:
        texts = [probe_tag("validation"), probe_tag("probe_1")]
        wait_until(lambda: [tags.get(text) for tags in last_steps(address).values() for text in texts] == 4 * [20])
        yield address  # once it has read two texts, their scores and the statistics of both runs
