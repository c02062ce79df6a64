"""The page of an evaluation: nothing on it overlaps."""

import numpy as np
import pytest

from tinyinfogan.view.figure import show_factor, show_factors
from tinyinfogan.view.plots import fit_labels, new_figure, show_confusion, show_grid

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("size", [12, 40])
def test_labels_of_many_classes_do_not_overlap(size):
    names = [f"{k}→{k}" for k in range(size)]
    page = new_figure(1560, 840, padding=(0.04, 0.04))
    grid, table = page.subplots(1, 2)
    show_grid(grid, np.ones((8, size, 28, 28, 1)), "", names, None)
    fit_labels(grid, size)
    show_confusion(table, np.eye(size, dtype=int), range(size))
    page.canvas.draw()
    for axes in (grid, table):
        across = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(a.x1 < b.x0 for a, b in zip(across, across[1:]))
    down = [label.get_window_extent() for label in table.get_yticklabels()]
    assert all(a.y0 > b.y1 for a, b in zip(down, down[1:]))
    cell = table.get_window_extent().width / size
    assert all(text.get_window_extent().width < cell for text in table.texts)


def test_factors_read_from_codes_are_drawn():
    codes = {"c0": 0.25, "c1": None}
    factors = {"azimuth": {"codes": codes, "all_codes": 0.5}, "dull": {"codes": codes}}
    factors["dull"] |= {"codes": dict.fromkeys(codes), "all_codes": None}
    axes = new_figure(800, 800).subplots()
    show_factors(axes, {"factors": factors, "codes": codes})
    assert sorted(text.get_text() for text in axes.texts) == ["0.25", "0.50"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c0", "c1", "all codes"]


def test_categories_stand_in_the_order_of_their_directions():
    categories, angles = np.array([0, 0, 1, 1, 2, 2]), np.array([80.0, 100, 350, 10, 170, 190])
    factor = {"kind": "angle", "codes": {"c0": 0.9}, "error_degrees": {"c0": 10.0}}
    axes = new_figure(800, 800).subplots()
    show_factor(axes, "azimuth", factor, "c0", categories, angles)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "2", "1"]
    (strokes,) = [c for c in axes.collections if hasattr(c, "get_segments")]
    np.testing.assert_allclose([line[0][1] for line in strokes.get_segments()], [90, 180, 360])
    assert "R² 0.90, mean error 10°" in axes.get_title()
