"""Draw the pictures of docs/textbook.md by the project's own attention and positions; needs the `bench` extra.

python -m docs.textbook_pictures
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from board.pictures import FUTURE, heat_map
from docs import textbook_examples as examples
from model.attention import MultiHeadAttention
from model.attention_pooling import AttentionPooling, masked_softmax
from model.config import DecoderConfig, PositionKind
from model.decoder import Decoder
from model.position import LearnedPosition, RotaryPosition, angles, cosine_sine, rotate, sinusoidal_encoding
from model.scoring import Additive, Bilinear, Distance, DotProduct, Mean, Scoring

FOLDER = Path(__file__).with_name("textbook")
STYLE: dict[Any, Any] = {"font.size": 8, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False}
STYLE |= {"figure.constrained_layout.use": True, "savefig.dpi": 110, "savefig.bbox": "tight"}
# The colours of the attention maps: one hue from light to dark, so it reads without colour vision and in grey.
SCALE = heat_map(np.linspace(0, 1, 256)) / 255
COLOURS = ListedColormap(SCALE).with_extremes(bad=tuple(FUTURE / 255))
DARK, MIDDLE, LIGHT = (tuple(SCALE[i]) for i in (240, 150, 80))


def weight_map(axes: Axes, weights: Tensor, title: str) -> None:
    """Weights (queries, keys) from 0 to 1, with numbers unless tiny; exact zeros, of unseen keys, in grey."""
    shown = weights.detach().numpy()
    axes.imshow(np.ma.masked_equal(shown, 0), cmap=COLOURS, vmin=0, vmax=1)
    for (query, key), weight in np.ndenumerate(shown):
        if weight > 0.005:
            colour = "white" if weight > 0.5 else "black"
            axes.text(key, query, f"{weight:.2f}", ha="center", va="center", fontsize=6, color=colour)
    axes.set(title=title, xlabel="key", ylabel="query", xticks=range(shown.shape[1]), yticks=range(shown.shape[0]))


def weight_maps(panels: dict[str, Tensor], size: tuple[float, float], down: bool = False) -> Figure:
    """Titles and weights, side by side or one below the other."""
    figure, axes = plt.subplots(*((len(panels), 1) if down else (1, len(panels))), figsize=size, squeeze=False)
    for panel, (title, weights) in zip(axes.flat, panels.items(), strict=True):
        weight_map(panel, weights, title)
        panel.label_outer()
    return figure


def masking() -> Figure:
    scores = examples.normal(2, 2, 4)
    lens = {
        "all keys": None,
        "one length a text: 2, 3": torch.tensor([2, 3]),
        "one a query: 1, 3 and 2, 4": torch.tensor([[1, 3], [2, 4]]),
    }
    figure = weight_maps({title: masked_softmax(scores, some).flatten(0, 1) for title, some in lens.items()}, (7, 2.4))
    names = [f"text {text}, query {query}" for text in range(2) for query in range(2)]
    figure.axes[0].set(yticks=range(4), yticklabels=names, ylabel="")
    return figure


def scoring_functions() -> Figure:
    same, other = examples.queries_keys_values(), examples.queries_keys_values(examples.OTHER_QUERY_SIZE)
    to_query, to_key = examples.hidden_projections()
    torch.manual_seed(0)  # of the weights of the two that learn
    shown: dict[str, tuple[Scoring, Tensor, Tensor]] = {
        "dot product": (DotProduct(), *same[:2]),
        "distance": (Distance(), *same[:2]),
        "bilinear, queries of size 20": (Bilinear(1, examples.OTHER_QUERY_SIZE, examples.KEY_SIZE), *other[:2]),
        "additive, queries of size 20": (Additive(1, examples.HIDDEN), to_query(other[0]), to_key(other[1])),
    }
    panels = {
        title: AttentionPooling(scoring.double(), causal=False).weights(query, key, examples.LENGTHS)[:, 0, 0]
        for title, (scoring, query, key) in shown.items()
    }
    figure = weight_maps(panels, (4.6, 4.6), down=True)
    for axes in figure.axes:
        axes.set(yticks=range(2), ylabel="text")
    return figure


def distance_and_dot_product() -> Figure:
    """One query in the plane, and the weight of each point of the plane as a key."""
    query, edge = torch.tensor([0.8, 0.5]), 2.5
    line = torch.linspace(-edge, edge, 61)
    keys = torch.cartesian_prod(line, line)
    figure, axes = plt.subplots(1, 2, figsize=(6, 3), sharey=True)
    scorings = {"dot product": DotProduct(scale=1), "distance": Distance(scale=1)}
    for panel, (title, scoring) in zip(axes, scorings.items(), strict=True):
        weights = AttentionPooling(scoring, causal=False).weights(query[None, None, None], keys[None, None])
        field = (weights / weights.max()).view(61, 61).T
        image = panel.imshow(field, origin="lower", extent=(-edge, edge, -edge, edge), cmap=COLOURS, vmin=0, vmax=1)
        panel.plot(*query, "o", color="white", markeredgecolor="black", label="the query")
        panel.set(title=title, xlabel="key, first column")
    axes[0].set(ylabel="key, second column")
    axes[0].legend(loc="lower left")
    figure.colorbar(image, label="weight, of the largest", ticks=(0, 0.5, 1))
    return figure


def mean() -> Figure:
    values, T = examples.normal(1, 1, 40, 1, seed=4), 8
    pooling = AttentionPooling(Mean())
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.8), width_ratios=(1, 1.5))
    few = values[:, :, :T]
    weight_map(left, pooling.weights(few, few)[0, 0], "weights")
    right.plot(values.flatten(), "o", color=LIGHT, label="values")
    right.plot(pooling(values, values, values).flatten(), color=DARK, label="their running mean")
    right.set(title="output", xlabel="position", ylabel="value", ylim=(-3, 2))
    right.legend(loc="lower center", ncols=2, frameon=False)
    return figure


def self_attention() -> Figure:
    block = MultiHeadAttention(100, 5, pooling=AttentionPooling(causal=False))
    weights = block.weights(torch.ones(2, 4, 100), torch.tensor([3, 2]))[:, 0]
    return weight_maps({"text of length 3": weights[0], "text of length 2": weights[1]}, (4.6, 2.5))


def waves() -> Figure:
    table = sinusoidal_encoding(60, 32)
    figure, axes = plt.subplots(figsize=(6, 2.5))
    styles = {6: (DARK, "-"), 7: (DARK, "--"), 8: (MIDDLE, "-"), 9: (MIDDLE, "--")}
    for column, (colour, style) in styles.items():
        axes.plot(table[:, column], style, color=colour, label=f"column {column}")
    axes.set(xlabel="row (position)", ylabel="value")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def table() -> Figure:
    figure, axes = plt.subplots(figsize=(3.6, 4.2))
    image = axes.imshow(sinusoidal_encoding(60, 32), cmap=COLOURS, vmin=-1, vmax=1, aspect="auto")
    axes.set(xlabel="column (dimension)", ylabel="row (position)")
    figure.colorbar(image, label="value", ticks=(-1, 0, 1))
    return figure


def rotation() -> Figure:
    """Columns 6 and 7 of the first rows as points of the plane, and the same turned by five positions."""
    rows, delta = 28, 5
    pair = sinusoidal_encoding(rows + delta, 32)[:, 6:8]
    turn = -delta * angles(2, 32)[1, 3:4]
    turned = rotate(pair[:rows], cosine_sine(turn))
    figure, axes = plt.subplots(figsize=(4, 4))
    axes.plot(*turned.T, "o", color=LIGHT, markersize=11, label=f"rows 0 to {rows - 1}, turned by {delta} positions")
    axes.plot(*pair.T, "o", color=DARK, markersize=4, label="rows as they are")
    for row, (x, y) in enumerate(1.14 * pair):
        axes.text(x, y, str(row), ha="center", va="center", fontsize=7)
    arrow = {"arrowstyle": "->", "color": MIDDLE, "shrinkB": 7}
    for (x, y), (turned_x, turned_y) in zip(pair[:rows:10].tolist(), pair[delta::10].tolist(), strict=True):
        axes.annotate("", (turned_x, turned_y), (x, y), arrowprops=arrow)
    axes.set(xlabel="column 6", ylabel="column 7", aspect="equal", xlim=(-1.3, 1.3), ylim=(-1.3, 1.3))
    axes.legend(loc="center", frameon=False, fontsize=7)
    return figure


def learned() -> Figure:
    """Cosines of the rows of a learned table, before and after a task in which the position alone tells the target."""
    period, context = 6, 24
    config = DecoderConfig(layers=1, heads=1, width=32, context=context, position=PositionKind.learned)
    decoder = Decoder(config, vocabulary_size=period, generator=torch.Generator().manual_seed(0))
    assert isinstance(decoder.position, LearnedPosition)
    table = decoder.position.table
    before = table.detach().clone()
    optimizer = torch.optim.AdamW([table], lr=0.03, weight_decay=1)  # nothing but the table learns
    for _ in range(300):
        optimizer.zero_grad()
        logits = decoder(torch.zeros(1, context, dtype=torch.long))[0]
        F.cross_entropy(logits, torch.arange(context) % period).backward()
        optimizer.step()
    figure, axes = plt.subplots(1, 2, figsize=(5.6, 2.9), sharey=True)
    for panel, rows, title in zip(axes, (before, table.detach()), ("before", "after"), strict=True):
        alike = F.cosine_similarity(rows[:, None], rows[None], dim=-1)
        image = panel.imshow(alike, cmap=COLOURS, vmin=-1, vmax=1)
        panel.set(title=title, xlabel="position")
    axes[0].set(ylabel="position")
    figure.colorbar(image, label="cosine of two rows", ticks=(-1, 0, 1))
    return figure


def rotary() -> Figure:
    """One query and one key at all pairs of positions."""
    T, size = 32, 16
    query, key = examples.normal(2, 1, 1, 1, size, seed=1).expand(2, 1, 1, T, size)
    turn = RotaryPosition(T, size)
    torch.manual_seed(0)  # of the additive score's vector
    figure, axes = plt.subplots(1, 2, figsize=(5.6, 2.9), sharey=True)
    scorings = {"dot product": DotProduct(), "additive": Additive(1, size).double()}
    for panel, (title, scoring) in zip(axes, scorings.items(), strict=True):
        image = panel.imshow(scoring.scores(turn(query), turn(key))[0, 0].detach(), cmap=COLOURS)
        panel.set(title=title, xlabel="position of the key")
        figure.colorbar(image, label="score", shrink=0.8)
    axes[0].set(ylabel="position of the query")
    return figure


def heads() -> Figure:
    block, x = examples.two_heads(AttentionPooling(causal=False))
    weights = block.weights(x)[0]
    return weight_maps({"first head": weights[0], "second head": weights[1]}, (5.4, 2.9))


def scales() -> Figure:
    titles = {"divided by √D": None, "as printed: no scale": 1.0, "multiplied by √D": 4.0}
    blocks = {title: examples.lecture_head(scale) for title, scale in titles.items()}
    return weight_maps({title: head.weights(x)[0, 0] for title, (head, x) in blocks.items()}, (8.4, 3.1))


OF_SCORES = masking, scoring_functions, distance_and_dot_product, mean
OF_POSITIONS = waves, table, rotation, learned, rotary
OF_HEADS = self_attention, heads, scales


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with plt.rc_context(STYLE):
        for draw in (*OF_SCORES, *OF_POSITIONS, *OF_HEADS):
            figure = draw()
            figure.savefig(FOLDER / f"{draw.__name__}.png", metadata={"Software": None}, pil_kwargs={"optimize": True})
            plt.close(figure)


if __name__ == "__main__":
    plt.switch_backend("agg")
    main()
