"""Put the attention maps of a run at chosen steps side by side, as the picture in the README does.

python docs/attention_picture.py runs/laptop/2026-01-31_12-00-00 docs/attention.png 0 300 900
"""

import io
import sys

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

MARGIN = 96  # pixels between steps


def main(run: str, file: str, *steps: str) -> None:
    events = EventAccumulator(run, size_guidance={"images": 0}).Reload()
    (tag,) = (tag for tag in events.Tags()["images"] if tag.startswith("attention/"))
    images = {str(event.step): Image.open(io.BytesIO(event.encoded_image_string)) for event in events.Images(tag)}
    chosen = [images[step] for step in steps]
    width = sum(image.width for image in chosen) + MARGIN * (len(chosen) - 1)
    picture = Image.new("RGB", (width, chosen[0].height), "white")
    left = 0
    for image in chosen:
        picture.paste(image, (left, 0))
        left += image.width + MARGIN
    picture.save(file, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
