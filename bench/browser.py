"""A real TensorBoard and a real Chromium: what is measured, tested and pictured in them."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

PATIENCE = 60  # seconds until something that must come is given up
FLAGS = """
    headless no-sandbox disable-gpu disable-quic no-first-run disable-sync disable-background-networking
    disable-component-update
"""
FRAME = "iframe[src*='name=attention']"


class NoBrowserError(Exception):
    """A browser or its driver is not installed."""


@contextmanager
def tensorboard(logdir: Path, *flags: str, module: str = "tensorboard.main") -> Iterator[str]:
    """A TensorBoard in a process of its own: its address."""
    command = [sys.executable, "-m", module, "--logdir", str(logdir), "--host", "127.0.0.1", "--port", "0"]
    with serving([*command, "--reload_interval", "1", *flags], r"at (http://127\.0\.0\.1:\d+\S*)/? \(Press") as address:
        yield address


@contextmanager
def serving(command: Sequence[str], said: str, **environment: str) -> Iterator[str]:
    """A server in a process of its own: its address, which it says on standard error."""
    settings = os.environ | environment
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=settings
    ) as process:
        assert process.stderr
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(said, line):
                break
        else:
            raise RuntimeError(f"it did not start: {''.join(lines)}")
        drain = Thread(target=process.stderr.read)  # or the process would wait for it
        drain.start()
        try:
            yield found[1].rstrip("/")
        finally:
            process.terminate()
            drain.join()


@contextmanager
def chromium(downloads: Path, width: int = 1280, height: int = 1000) -> Iterator[Chrome]:
    """A browser without a window. Raises NoBrowserError where there is none."""
    browser, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (browser and driver):
        raise NoBrowserError("expected chromium and chromedriver, which are not both installed")
    options = ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS.split(), f"window-size={width},{height}"):
        options.add_argument(f"--{flag}")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = Chrome(options=options, service=ChromeService(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


def address_of_view(address: str, *, framed: bool, dark: bool = False, **view: Any) -> str:
    """Of the tab in TensorBoard's page, or of its frame alone, which loads faster but cannot ask whether to be dark."""
    page = f"{address}/?darkMode={str(dark).lower()}" if framed else f"{address}/data/plugin_entry.html?name=attention"
    return "&".join((f"{page}#attention", *(urlencode({f"p.attention.{name}": value}) for name, value in view.items())))


def open_tab(browser: WebDriver, view: str, *, framed: bool) -> None:
    """Open the address of a view anew, and go to where its parts are."""
    browser.get("about:blank")  # or a change of the hash alone would load nothing
    browser.get(view)
    if framed:
        enter_frame(browser)


def enter_frame(browser: WebDriver) -> None:
    """From TensorBoard's page into the tab's frame, as soon as it is there."""
    wait_until(lambda: bool(browser.find_elements(By.CSS_SELECTOR, FRAME)))
    browser.switch_to.frame(browser.find_element(By.CSS_SELECTOR, FRAME))


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("it never came")
        time.sleep(0.02)
