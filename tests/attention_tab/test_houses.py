"""The tab where people have TensorBoard: behind a proxy, in notebooks, in an editor; runs of any name and number."""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from attention_tab.format import encode
from attention_tab.plugin import STATIC
from bench.browser import PATIENCE, enter_frame, serving, tensorboard, wait_until
from tests.attention_tab.helpers import get, last_steps, log, made
from tests.attention_tab.page import Page

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what Jupyter's packages call in others

TAG = "attention_tab/validation"
NAMES = [
    "a,b",
    "a=b",
    "[a]",
    "50%",
    "a%20b",
    "a b",
    "中文",
    "a+b&c#d",
    "heads=[1,2],seed=0/more",
    *map(str, range(200)),
]
SNAPSHOT = made([*"to be"], [2])
CHROMIUM = pytest.mark.parametrize("browser", ["chromium"], indirect=True)
LOADERS = pytest.mark.parametrize("loader", ["--load_fast=true", "--load_fast=false"])


@pytest.fixture(scope="module")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    log(folder / "run", {0: SNAPSHOT, 10: SNAPSHOT})
    return folder


def assert_read(address: str, *runs: str) -> None:
    for run in runs:
        assert get(address, "snapshot", run=run, tag=TAG, step=0)[::2] == (200, encode(SNAPSHOT))


def assert_shown(browser: WebDriver, address: str) -> None:
    wait_until(lambda: last_steps(address) == {"run": {TAG: 10}})
    page = Page(browser, address, framed=True)
    assert (page.chosen("Run"), page.data("step")) == ("run", "10")


@LOADERS
def test_more_than_two_hundred_runs_of_any_name_are_listed_and_read(tmp_path: Path, loader: str) -> None:
    for name in NAMES:
        log(tmp_path / name, {0: SNAPSHOT})
    with tensorboard(tmp_path, loader) as address:
        wait_until(lambda: len(last_steps(address)) == len(NAMES))
        assert last_steps(address).keys() == {*NAMES}
        assert_read(address, *NAMES[:10])


@LOADERS
def test_a_run_that_is_renamed_meanwhile_is_listed_by_its_new_name(tmp_path: Path, loader: str) -> None:
    log(tmp_path / "before", {0: SNAPSHOT})
    with tensorboard(tmp_path, loader) as address:
        wait_until(lambda: last_steps(address) == {"before": {TAG: 0}})
        (tmp_path / "before").rename(tmp_path / "after")
        wait_until(lambda: last_steps(address) == {"after": {TAG: 0}})
        assert_read(address, "after")


def test_folders_named_by_logdir_spec_are_listed_by_these_names(logdir: Path, tmp_path: Path) -> None:
    log(tmp_path / "run", {0: SNAPSHOT})
    with tensorboard(tmp_path, "--logdir=", f"--logdir_spec=old:{logdir},new:{tmp_path}") as address:
        wait_until(lambda: last_steps(address) == {"old/run": {TAG: 10}, "new/run": {TAG: 0}})
        assert_read(address, "old/run", "new/run")


@pytest.mark.slow
@CHROMIUM
def test_it_works_in_the_sandbox_in_which_vs_code_frames_tensorboard(
    browser: WebDriver, logdir: Path, tmp_path: Path
) -> None:
    sandbox = "allow-scripts allow-forms allow-same-origin allow-pointer-lock"
    with tensorboard(logdir) as address:
        wait_until(lambda: last_steps(address) == {"run": {TAG: 10}})
        (tmp_path / "editor.html").write_text(f'<iframe sandbox="{sandbox}" src="{address}/#attention"></iframe>')
        browser.get((tmp_path / "editor.html").as_uri())
        browser.switch_to.frame(0)
        enter_frame(browser)
        wait_until(lambda: browser.execute_script("return document.body.dataset.state") == "ready")


@contextmanager
def jupyter(folder: Path) -> Iterator[str]:
    """The address of a Jupyter server with all extensions that are installed."""
    flags = ["--no-browser", "--allow-root", "--ServerApp.token=", "--ServerApp.disable_check_xsrf=True"]
    command = [sys.executable, "-m", "jupyter_server", "--ip=127.0.0.1", f"--notebook-dir={folder}", *flags]
    with serving(command, r"(http://127\.0\.0\.1:\d+)/", HOME=str(folder)) as address:
        wait_until(lambda: answers(address))  # it says its address before it listens
        yield address


def answers(address: str) -> bool:
    with suppress(URLError), urlopen(f"{address}/api"):
        return True
    return False


@pytest.mark.slow
@CHROMIUM
def test_it_works_behind_jupyter_server_proxy(browser: WebDriver, logdir: Path, tmp_path: Path) -> None:
    pytest.importorskip("jupyter_server_proxy")
    with jupyter(tmp_path) as server, tensorboard(logdir) as address:
        assert_shown(browser, f"{server}/proxy/{urlsplit(address).port}")


def test_it_works_in_jupyterlab_tensorboard_pro(logdir: Path, tmp_path: Path) -> None:
    pytest.importorskip("jupyterlab_tensorboard_pro")
    with jupyter(tmp_path) as server:
        wanted = json.dumps({"logdir": str(logdir), "reload_interval": 1}).encode()
        with urlopen(Request(f"{server}/api/tensorboard_pro", wanted, method="POST"), timeout=PATIENCE) as answer:
            address = f"{server}/tensorboard_pro/{json.load(answer)['name']}"
        # No browser: 4.0.0 answers each request twice, and one that keeps connections takes the empty answer at times.
        wait_until(lambda: last_steps(address) == {"run": {TAG: 10}})
        assert_read(address, "run")
        assert get(address, "index.js")[2] == STATIC["/index.js"][0]


@pytest.mark.slow
@CHROMIUM
def test_the_magic_of_notebooks_starts_it(
    browser: WebDriver, logdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat.v4")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where TensorBoard keeps what it knows of others
    lines = "%load_ext tensorboard", f"%tensorboard --logdir {logdir} --port 0"
    notebook = nbformat.new_notebook(cells=[nbformat.new_code_cell(line) for line in lines])
    client = nbclient.NotebookClient(notebook)
    with client.setup_kernel():  # which takes TensorBoard along when it ends
        for number, cell in enumerate(notebook.cells):
            client.execute_cell(cell, number)
        found = re.search(r"const port = (\d+);", notebook.cells[-1].outputs[0]["data"]["text/html"])
        assert found
        assert_shown(browser, f"http://127.0.0.1:{found[1]}")
