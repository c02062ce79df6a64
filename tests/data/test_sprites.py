"""Sprites: the pictures have the factors that they were drawn from."""

import math
import time

import numpy as np
import pytest

from tinyinfogan.data import load, sprites
from tinyinfogan.data.sprites import NAMES, SIZES, render

LARGEST, UPRIGHT, MIDDLE = 5, 0, 15


def one(shape, scale=LARGEST, orientation=UPRIGHT, x=MIDDLE, y=MIDDLE):
    """One picture (64, 64), 0 to 1."""
    return render(np.array([[shape, scale, orientation, x, y]]))[0, ..., 0] / 255


def inside(shape, u, v, area):
    """Whether points, v upwards, are in an upright shape of the given area: from the definitions,
    without distances."""
    if shape == "square":
        return (abs(u) < math.sqrt(area) / 2) & (abs(v) < math.sqrt(area) / 2)
    if shape == "ellipse":
        b = math.sqrt(area / (2 * math.pi))
        return (u / (2 * b)) ** 2 + (v / b) ** 2 < 1
    h = math.sqrt(area / (4 + math.pi))
    v = v + (h + h / math.sqrt(2) - math.sqrt(2) * h) / 2
    diamond = abs(u) + abs(v) < math.sqrt(2) * h
    lobe = h / math.sqrt(2)
    return diamond | ((abs(u) - lobe) ** 2 + (v - lobe) ** 2 < h**2)


@pytest.mark.parametrize("shape", range(3))
@pytest.mark.parametrize("scale", [0, 3, 5])
@pytest.mark.parametrize("orientation", [0, 3, 17])
def test_brightness_is_the_share_of_the_pixel_that_is_covered(shape, scale, orientation):
    # 16x16 points in each pixel, turned clockwise, are counted.
    points = (np.arange(64 * 16) + 0.5) / 16
    right, up = points - (MIDDLE + 16), (MIDDLE + 16) - points[:, None]
    angle = 2 * math.pi * orientation / 40
    u = math.cos(angle) * right + math.sin(angle) * up
    v = math.cos(angle) * up - math.sin(angle) * right
    area = (18 * (0.5 + 0.1 * scale)) ** 2
    covered = inside(sprites.SHAPES[shape], u, v, area).reshape(64, 16, 64, 16).mean((1, 3))
    difference = abs(one(shape, scale, orientation) - covered)
    assert difference.max() < 0.3, "at a corner"
    assert difference.sum() < 0.02 * covered.sum()
    partly = (covered > 0.05) & (covered < 0.95)
    assert difference[partly].sum() <= 0.05 * partly.sum(), "the edges are antialiased"


def test_shapes_type_and_range():
    factors = sprites.draw(100, np.random.default_rng(0))
    images = render(factors)
    assert images.shape == (100, 64, 64, 1) and images.dtype == np.uint8
    assert images.max() == 255 and images.min() == 0 and len(np.unique(images)) > 100
    assert len(NAMES) == len(SIZES) == 5 and math.prod(SIZES) == 737_280
    assert render(np.empty((0, 5), int)).shape == (0, 64, 64, 1)


@pytest.mark.parametrize("shape", range(3))
def test_x_goes_right_and_y_down_by_a_pixel(shape):
    image = one(shape, 2, 7, 0, 0)
    for x, y in [(1, 0), (0, 1), (31, 0), (0, 31), (31, 31)]:
        moved = one(shape, 2, 7, x, y)
        np.testing.assert_array_equal(moved, np.roll(image, (y, x), (0, 1)))


@pytest.mark.parametrize("shape", range(3))
def test_nothing_is_cut_off(shape):
    rows = [(shape, LARGEST, turn, x, y) for turn in range(40) for x in (0, 31) for y in (0, 31)]
    images = render(np.array(rows))[..., 0]
    edges = [images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]]
    assert max(edge.max() for edge in edges) == 0
    areas = images.sum((1, 2)) / 255
    assert abs(areas / 324 - 1).max() < 0.015


def test_scales_are_areas_and_equal_among_shapes():
    areas = np.array([[one(shape, scale, 3).sum() for scale in range(6)] for shape in range(3)])
    lengths = np.sqrt(areas / areas[:, -1:])
    np.testing.assert_allclose(lengths, np.tile(np.linspace(0.5, 1, 6), (3, 1)), atol=0.01)
    np.testing.assert_allclose(areas[:, -1], 324, rtol=0.01)


def test_orientation_turns_anticlockwise():
    square, ellipse, heart = range(3)
    for shape in range(3):
        quarter = np.rot90(one(shape)[:62, :62])  # which has the sprite in its middle
        np.testing.assert_allclose(one(shape, orientation=10)[:62, :62], quarter, atol=1.01 / 255)
    # The first eighth of a turn takes an ellipse's right end upwards.
    x, y = np.meshgrid(np.arange(64) - 30.5, 30.5 - np.arange(64))
    assert (one(ellipse, orientation=5) * x * y).sum() > 0
    turns = np.stack([one(heart, orientation=turn) for turn in range(40)])
    assert len(np.unique(turns.reshape(40, -1), axis=0)) == 40, "40 different ones"
    assert np.array_equal(one(square, orientation=3), one(square, orientation=13))
    assert np.array_equal(one(ellipse, orientation=3), one(ellipse, orientation=23))


def test_the_heart_stands_on_its_tip():
    rows = np.flatnonzero(one(2).sum(1))
    widths = (one(2) > 0.5).sum(1)
    assert widths[rows[-3]] < widths[rows[3]]
    assert abs((rows[0] + rows[-1]) / 2 - 30.5) <= 0.5
    np.testing.assert_array_equal(one(2)[:, :62], one(2)[:, 61::-1])


@pytest.mark.parametrize(
    "factors, message",
    [
        (np.zeros(5, int), r"\(5,\)"),
        (np.zeros((2, 4), int), r"\(2, 4\)"),
        (np.zeros((2, 5)), "float64"),
        (np.array([[3, 0, 0, 0, 0]]), "shape is from 3 to 3, expected 0 to 2"),
        (np.array([[0, 0, 0, 0, 0], [0, 0, 0, -1, 0]]), "x is from -1 to 0, expected 0 to 31"),
    ],
)
def test_bad_factors(factors, message):
    with pytest.raises(ValueError, match=message):
        render(factors)


def test_draw_is_uniform_and_without_repetition():
    factors = sprites.draw(20_000, np.random.default_rng(1))
    assert len(np.unique(factors, axis=0)) == 20_000
    for size, values in zip(SIZES, factors.T):
        counts = np.bincount(values, minlength=size)
        assert len(counts) == size and abs(counts * size / 20_000 - 1).max() < 0.2
    np.testing.assert_array_equal(
        sprites.draw(9, np.random.default_rng(1)), sprites.draw(9, np.random.default_rng(1))
    )


def test_the_data_set(monkeypatch):
    monkeypatch.setattr("tinyinfogan.data.datasets.SPRITES", 500)
    data = load(name="sprites")
    assert data.name == "sprites" and data.images.shape == (500, 64, 64, 1)
    assert tuple(data.factors) == NAMES
    assert data.factors["orientation"].max() == 351  # degrees
    drawn = np.column_stack([*data.factors.values()]) // (1, 1, 9, 1, 1)
    np.testing.assert_array_equal(data.images, render(drawn))
    np.testing.assert_array_equal(data.labels, data.factors["shape"])
    np.testing.assert_array_equal(data.images, load(name="sprites").images)


def test_drawing_is_fast():
    factors = sprites.draw(64, np.random.default_rng(0))
    render(factors)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        render(factors)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.02
