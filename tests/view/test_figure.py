"""The page of an evaluation: nothing on it overlaps."""

import numpy as np
import pytest

from tinyinfogan.view.figure import show_confusion, show_grid
from tinyinfogan.view.plots import new_figure

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("size", [12, 40])
def test_labels_of_many_classes_do_not_overlap(size):
    names = [f"{k}→{k}" for k in range(size)]
    page = new_figure(1560, 840, padding=(0.04, 0.04))
    grid, table = page.subplots(1, 2)
    show_grid(grid, np.ones((8, size, 28, 28, 1)), "", names, None)
    confusion = {"table": np.eye(size, dtype=int).tolist(), "assignment": list(range(size))}
    show_confusion(table, {"confusion": confusion, "code_accuracy": 1.0})
    page.canvas.draw()
    for axes in (grid, table):
        across = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(a.x1 < b.x0 for a, b in zip(across, across[1:]))
    down = [label.get_window_extent() for label in table.get_yticklabels()]
    assert all(a.y0 > b.y1 for a, b in zip(down, down[1:]))
    cell = table.get_window_extent().width / size
    assert all(text.get_window_extent().width < cell for text in table.texts)
