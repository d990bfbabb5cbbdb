"""Numbers to pixels, without a plotting library: uint8 arrays of shape (height, width, 3)."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary

# From 0 to 1: each stop is darker than the one before, so the scale also reads in grey.
_STOPS = np.array([(247, 249, 252), (173, 205, 228), (84, 152, 201), (28, 86, 152), (9, 31, 74)])
_COLOURS = np.stack([np.interp(np.linspace(0, 4, 256), range(5), channel) for channel in _STOPS.T], -1).astype(np.uint8)
FUTURE = np.array([214, 214, 210], dtype=np.uint8)  # above the diagonal: a grey that the scale does not hold
PAPER = 255  # between maps
GAP = 4  # pixels between maps
MAP_SIZE = 160  # pixels, the least side of a map


def heat_map(values: np.ndarray) -> np.ndarray:
    """Colours for values in [0, 1], shape (rows, columns): (rows, columns, 3)."""
    return _COLOURS[(np.clip(values, 0, 1) * 255).round().astype(np.uint8)]


def enlarged(picture: np.ndarray, pixels: int) -> np.ndarray:
    """Every pixel of (height, width, 3) as a square of `pixels` by `pixels`."""
    return picture.repeat(pixels, axis=0).repeat(pixels, axis=1)


def attention_map(weights: np.ndarray) -> np.ndarray:
    """One head's weights (T, T), queries down and keys across, with a grey future: (T, T, 3).

    The square root of a weight is shown: many small weights would otherwise look like none.
    """
    picture = heat_map(np.sqrt(weights))
    # Where a weight leaks into the future it is shown, not covered.
    picture[np.triu(weights == 0, 1)] = FUTURE
    return picture


def attention_grid(layers: Sequence[np.ndarray]) -> np.ndarray:
    """Maps of every head, layers down and heads across. Takes one (H, T, T) a layer; H may differ between layers."""
    T = layers[0].shape[-1]
    scale = max(1, -(-MAP_SIZE // T))  # whole pixels a weight
    side, step = T * scale, T * scale + GAP
    rows, columns = len(layers), max(map(len, layers))
    grid = np.full((rows * step - GAP, columns * step - GAP, 3), PAPER, dtype=np.uint8)
    for row, heads in enumerate(layers):
        for column, weights in enumerate(heads):
            grid[row * step :, column * step :][:side, :side] = enlarged(attention_map(weights), scale)
    return grid


def summary_of_picture(tag: str, picture: np.ndarray) -> Summary:
    """As a PNG for the Images tab, compressed less than by torch's `image`, which takes more than twice as long."""
    height, width, _ = picture.shape
    Image.fromarray(picture).save(stream := BytesIO(), "png", compress_level=1)
    png = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=stream.getvalue())
    return Summary(value=[Summary.Value(tag=tag, image=png)])
