"""Take the pictures of the Attention tab that the README shows, of a run; needs the `dev` extra and Chromium.

python train.py name=tab board.probe=$'for name, value in self.items():\\n    for name, value in self.'
python -m docs.tab_pictures runs/tab docs
"""

import io
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from selenium.webdriver import Chrome

from attention_tab.format import probe_tag
from bench.browser import address_of_view, chromium, open_tab, tensorboard, wait_until

WIDTH, HEIGHT = 1280, 930  # of the browser's window


def main(runs: str, folder: str) -> None:
    (run,) = (path.name for path in Path(runs).iterdir())
    view: dict[str, Any] = {"run": run, "tag": probe_tag("probe_1"), "heads": "3.2", "position": 47}
    compared = view | {"otherRun": run, "otherStep": 0}
    with tensorboard(Path(runs)) as address, TemporaryDirectory() as downloads:
        for name, chosen, dark in ("attention_tab", view, False), ("attention_tab_compared", compared, True):
            with chromium(Path(downloads), WIDTH, HEIGHT) as chrome:
                take(chrome, address_of_view(address, framed=True, dark=dark, **chosen), Path(folder) / f"{name}.png")


def take(chrome: Chrome, address: str, file: Path) -> None:
    open_tab(chrome, address, framed=True)
    wait_until(lambda: chrome.execute_script("return document.body?.dataset.state") == "ready")
    chrome.switch_to.default_content()
    Image.open(io.BytesIO(chrome.get_screenshot_as_png())).convert("RGB").save(file, optimize=True)
    print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:])
