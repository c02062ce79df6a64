"""Random maps of images: what they do to pixels, and their gradient."""

import numpy as np
import pytest

from tinyinfogan.engine import grad_check
from tinyinfogan.infogan.variants.augmentation import Augmentation, draw_maps, warp

IDENTITY = np.array([[1, 0, 0], [0, 1, 0]], np.float32)


def test_identity_and_whole_shifts_move_pixels_exactly(rng, tensor):
    images = rng.random((3, 6, 5, 2))
    maps = np.stack([IDENTITY] * 3)
    maps[1, :, 2] = 1, -2  # the value comes from one row below and two columns to the left
    maps[2, :, 2] = 100, 0
    moved = warp(tensor(images), maps).numpy()
    np.testing.assert_allclose(moved[0], images[0])
    np.testing.assert_allclose(moved[1, :-1, 2:], images[1, 1:, :-2])
    assert (moved[1, -1] == 0).all()
    assert (moved[1, :, :2] == 0).all()
    assert (moved[2] == 0).all()


def test_half_a_pixel_is_the_mean_of_neighbours(rng, tensor):
    images = rng.random((1, 4, 4, 1))
    maps = IDENTITY[None].copy()
    maps[0, 0, 2] = 0.5
    moved = warp(tensor(images), maps).numpy()
    np.testing.assert_allclose(moved[0, :-1], (images[0, :-1] + images[0, 1:]) / 2)


def test_a_quarter_turn(rng, tensor):
    images = rng.random((1, 5, 5, 1))
    maps = np.array([[[0, 1, 0], [-1, 0, 0]]], np.float32)
    np.testing.assert_allclose(warp(tensor(images), maps).numpy(), np.rot90(images, 1, (1, 2)))


def test_gradient(rng, tensor):
    maps = draw_maps(Augmentation(shift=2, rotation=30, zoom=0.2), 3, rng)
    x = tensor(rng.standard_normal((3, 7, 6, 2)))
    assert grad_check(lambda x: warp(x, maps), [x]) < 1e-6


def test_maps_keep_within_their_bounds(rng):
    maps = draw_maps(Augmentation(shift=2, rotation=10, zoom=0.1), 5000, rng)
    scale = np.hypot(maps[:, 0, 0], maps[:, 0, 1])
    angle = np.degrees(np.arctan2(maps[:, 0, 1], maps[:, 0, 0]))
    shifts = maps[:, :, 2].T
    for values, bound in ((np.log(scale), 0.1), (angle, 10), (shifts[0], 2), (shifts[1], 2)):
        assert np.abs(values).max() == pytest.approx(bound, rel=0.01)
        assert values.mean() == pytest.approx(0, abs=0.05 * bound)
    np.testing.assert_allclose(np.linalg.det(maps[:, :, :2]), scale**2, rtol=1e-5)


def test_no_augmentation_is_the_identity(rng):
    np.testing.assert_array_equal(draw_maps(Augmentation(), 2, rng), [IDENTITY] * 2)
