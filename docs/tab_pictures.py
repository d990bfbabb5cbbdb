"""Take the pictures of the Attention tab that the README shows, and save its demo page; needs `dev` and Chromium.

python train.py name=tab board.probe=$'for name, value in self.items():\\n    for name, value in self.'
python -m docs.tab_pictures runs/tab docs
"""

import io
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from attention_tab.export import page_of, save
from attention_tab.format import probe_tag
from bench.browser import address_of_view, chromium, open_tab, tensorboard, wait_until

WIDTH, HEIGHT = 1280, 930  # of the browser's window
MEGABYTES = 4.0  # of the demo page: both texts at all steps
COLOURS = 96  # of the animation, which is to stay below 1.5 MB
GO = "const [slider, i] = arguments; slider.value = i; slider.dispatchEvent(new Event('input'))"


def main(runs: str, folder: str) -> None:
    (run,) = Path(runs).iterdir()
    tag = probe_tag("probe_1")
    view: dict[str, Any] = {"run": run.name, "tag": tag, "heads": "4.1", "position": 47, "metric": "induction"}
    compared = view | {"otherRun": run.name, "otherStep": 0}
    with tensorboard(Path(runs)) as address, TemporaryDirectory() as downloads:
        for name, chosen, dark in ("attention_tab", view, False), ("attention_tab_compared", compared, True):
            with chromium(Path(downloads), WIDTH, HEIGHT) as chrome:
                take(chrome, address_of_view(address, framed=True, dark=dark, **chosen), Path(folder) / f"{name}.png")
        save(page_of(run, MEGABYTES), page := Path(folder).absolute() / "demo.html")
        with chromium(Path(downloads), WIDTH, HEIGHT) as chrome:
            open_tab(
                chrome, f"{page.as_uri()}#attention&p.attention.tag={tag}&p.attention.metric=induction", framed=False
            )
            film(chrome, Path(folder) / "heads_forming.gif")


def take(chrome: Chrome, address: str, file: Path) -> None:
    open_tab(chrome, address, framed=True)
    ready(chrome)
    chrome.switch_to.default_content()
    picture(chrome.get_screenshot_as_png()).save(file, optimize=True)


def film(chrome: Chrome, file: Path) -> None:
    """All heads of the page that is open, step by step."""
    ready(chrome)
    slider, frames = chrome.find_element(By.CSS_SELECTOR, "input[type=range]"), []
    for i in range(int(slider.get_attribute("max") or 0) + 1):
        chrome.execute_script(GO, slider, i)
        ready(chrome)
        heads = picture(chrome.find_element(By.CSS_SELECTOR, ".heads").screenshot_as_png)
        frame = ImageOps.expand(heads, (0, 30, 0, 0), "white")
        step = chrome.execute_script("return document.body.dataset.step")
        ImageDraw.Draw(frame).text((30, 6), f"step {step}", "black", ImageFont.load_default(16))
        frames.append(frame.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE))
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=[180] * (len(frames) - 1) + [3000], loop=0)


def ready(chrome: Chrome) -> None:
    wait_until(lambda: chrome.execute_script("return document.body?.dataset.state") == "ready")


def picture(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


if __name__ == "__main__":
    main(*sys.argv[1:])
