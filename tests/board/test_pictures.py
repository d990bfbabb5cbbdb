import numpy as np

from board.pictures import FUTURE, GAP, PAPER, attention_grid, attention_map, heat_map


def test_the_scale_darkens_from_nothing_to_everything() -> None:
    scale = heat_map(np.linspace(0, 1, 256)[None])[0].astype(int)
    lightness = scale @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) < 0).all()
    assert not (scale == FUTURE).all(-1).any()


def test_a_map_shows_the_past_and_greys_the_future_unless_weights_leak_into_it() -> None:
    weights = np.tril(np.full((5, 5), 0.2))
    grey = (attention_map(weights) == FUTURE).all(-1)
    assert np.array_equal(grey, np.triu(np.ones((5, 5), dtype=bool), 1))
    weights[1, 3] = 0.2
    assert not (attention_map(weights)[1, 3] == FUTURE).all()


def test_a_grid_has_a_row_for_each_layer_and_a_column_for_each_head() -> None:
    grid = attention_grid([np.ones((3, 64, 64)), np.ones((1, 64, 64))])
    size = 3 * 64
    assert grid.dtype == np.uint8
    assert grid.shape == (2 * size + GAP, 3 * size + 2 * GAP, 3)
    assert (grid[size : size + GAP] == PAPER).all()
    assert (grid[size + GAP :, size:] == PAPER).all()
    assert (grid[size - 1, 0] == heat_map(np.ones((1, 1)))[0, 0]).all()
