"""Firefox and WebKitGTK, used by the tests of the tab as bench's Chromium is: Debian's packages and nothing else."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from selenium.webdriver import FirefoxOptions, Remote, WebKitGTKOptions, WebKitGTKService
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.remote.webdriver import WebDriver

from bench.browser import NoBrowserError, wait_until

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver's key of an element's reference
# Selenium's names of commands that are not Marionette's with another first letter.
MARIONETTE = {
    "actions": "PerformActions",
    "clickElement": "ElementClick",
    "findChildElement": "FindElement",
    "findChildElements": "FindElements",
    "get": "Navigate",
    "getElementValueOfCssProperty": "GetElementCSSValue",
    "sendKeysToElement": "ElementSendKeys",
    "w3cExecuteScript": "ExecuteScript",
}


class Marionette:
    """Selenium's connection to Firefox in its own protocol, as by geckodriver, which Debian does not have."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._read()  # a greeting

    def execute(self, command: str, given: dict[str, Any]) -> dict[str, Any]:
        if command == "newSession":
            given = {}
        elif command == "switchToFrame" and given["id"]:
            given = {"element": given["id"][ELEMENT]}
        elif "Child" in command:
            given = {**given, "element": given["id"]}
        name = MARIONETTE.get(command, command[0].upper() + command[1:])
        message = json.dumps([0, 0, f"WebDriver:{name}", given]).encode()
        self._stream.write(b"%d:%b" % (len(message), message))
        self._stream.flush()
        _, _, error, answer = self._read()
        if error:
            return {"status": error["error"], "value": error}
        return {"value": answer.get("value", answer) if isinstance(answer, dict) else answer}

    def _read(self) -> Any:
        size = b"".join(iter(lambda: self._stream.read(1), b":"))
        return json.loads(self._stream.read(int(size)))


@contextmanager
def firefox(downloads: Path) -> Iterator[WebDriver]:
    """A browser without a window. Raises NoBrowserError where there is none."""
    found = shutil.which("firefox-esr") or shutil.which("firefox")
    if not found:
        raise NoBrowserError("expected firefox-esr or firefox, which is not installed")
    settings = {"browser.download.dir": str(downloads), "browser.download.folderList": 2, "marionette.port": 0}  # any
    with TemporaryDirectory() as profile:
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in settings.items()]
        Path(profile, "user.js").write_text("".join(lines), encoding="utf-8")
        port = Path(profile, "MarionetteActivePort")
        command = [found, "--headless", "--marionette", "--no-remote", "--profile", profile]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                wait_until(lambda: port.exists() and port.read_text() != "")
                address = ("127.0.0.1", int(port.read_text()))
                with socket.create_connection(address) as connected, connected.makefile("rwb") as stream:
                    yield Remote(Marionette(stream), options=FirefoxOptions())  # type: ignore[arg-type]
            finally:
                process.terminate()


@contextmanager
def webkit(downloads: Path) -> Iterator[WebDriver]:
    """A browser on a virtual screen. Raises NoBrowserError where there is none."""
    driver, screen = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
    if not (driver and screen):
        raise NoBrowserError("expected WebKitWebDriver and Xvfb, which are not both installed")
    command = [screen, "-displayfd", "1", "-screen", "0", "2560x1200x24", "-nolisten", "tcp"]
    with (
        TemporaryDirectory() as home,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as display,
    ):
        assert display.stdout
        environment = {**os.environ, "DISPLAY": f":{display.stdout.readline().strip()}", "XDG_CONFIG_HOME": home}
        Path(home, "user-dirs.dirs").write_text(f'XDG_DOWNLOAD_DIR="{downloads}"\n', encoding="utf-8")
        service = WebKitGTKService(driver, env=environment)
        try:
            service.start()
            # WebKitGTK's class in Selenium 4.51 warns of an argument that it gives itself.
            browser = Remote(
                RemoteConnection(client_config=ClientConfig(service.service_url)), options=WebKitGTKOptions()
            )
            yield browser
            browser.quit()
        finally:
            service.stop()
            display.terminate()
