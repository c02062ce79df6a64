"""The information between the two images of a pair, and which images are like one another."""

import numpy as np
import pytest
import references

from tinyinfogan import LatentSpec
from tinyinfogan.engine import Tensor
from tinyinfogan.infogan.variants import consistency
from tinyinfogan.infogan.variants.augmentation import Augmentation
from tinyinfogan.infogan.variants.consistency import (
    COMPONENTS,
    KEPT,
    PairInformation,
    nearest,
    number_at,
    pairs,
)

SPEC = LatentSpec(2, (4, 3), 1)


def joint(logits):
    return references.pair_information(logits)[1]


def information(P):
    marginal = P.sum(axis=0)
    return np.sum(P * np.log(P / np.outer(marginal, marginal)))


def double(spec):
    return PairInformation(spec).to(dtype=np.float64)


def test_p_is_a_running_mean_that_starts_from_no_information(rng):
    kept = double(SPEC)
    q_output = rng.standard_normal((10, SPEC.code_dim))
    for _ in range(2):
        kept.loss(Tensor(q_output))
    for name, columns, K in (("c0", slice(0, 4), 4), ("c1", slice(4, 7), 3)):
        M = joint(q_output[:, columns])
        expected = KEPT**2 / K**2 + (1 - KEPT**2) * M
        np.testing.assert_allclose(kept.state_dict()[name], expected, rtol=1e-6)
    assert set(kept.state_dict()) == {"c0", "c1"}


def test_the_loss_is_minus_the_information_where_p_has_come_to_rest(rng):
    kept, q_output = double(SPEC), 2 * rng.standard_normal((10, SPEC.code_dim))
    for _ in range(400):
        loss = kept.loss(Tensor(q_output)).item()
    expected = sum(information(joint(q_output[:, part])) for part in (slice(0, 4), slice(4, 7)))
    assert loss == pytest.approx(-expected, abs=1e-4)


def test_the_gradient_is_that_of_the_information_by_what_the_batch_adds(rng):
    spec = LatentSpec(0, (4,), 0)
    kept, q_output = double(spec), Tensor(rng.standard_normal((6, 4)), requires_grad=True)
    kept.c0[...] = joint(rng.standard_normal((40, 4)))
    before = kept.c0.copy()
    kept.loss(q_output).backward()

    def objective(logits):
        return -information(KEPT * before + (1 - KEPT) * joint(logits)) / (1 - KEPT)

    direction, step = rng.standard_normal((6, 4)), 1e-5
    ends = (objective(q_output.data + sign * step * direction) for sign in (1, -1))
    expected = (next(ends) - next(ends)) / (2 * step)
    assert np.sum(q_output.grad * direction) == pytest.approx(expected, rel=1e-3)


def test_equal_and_certain_pairs_over_all_categories_are_best():
    spec, certain = LatentSpec(0, (4,), 0), 20 * np.tile(np.eye(4), (2, 1))
    kept = double(spec)
    for _ in range(200):
        loss = kept.loss(Tensor(certain)).item()
    assert loss == pytest.approx(-np.log(4), abs=1e-3)


def test_processes_keep_one_p(rng):
    """Two processes with half of the pairs each move P as one process with all of them."""
    q_output, whole = rng.standard_normal((8, SPEC.code_dim)), double(SPEC)
    whole.loss(Tensor(q_output))
    halves = q_output[::2], q_output[1::2]
    joints = [joint(part[:, :4]) for part in halves]

    class Group:
        size = 2

        def sum(self, M):
            return sum(joints) if M.shape == (4, 4) else 2 * M

    shared = double(SPEC)
    shared.group = Group()
    shared.loss(Tensor(halves[0]))
    np.testing.assert_allclose(shared.c0, whole.c0, rtol=1e-9)


def test_pairs_are_an_image_and_one_that_is_like_it(rng):
    like = np.arange(20)[:, None] * 10 + np.arange(3)
    found = pairs(np.arange(11), like, rng)
    assert found.shape == (10,)
    np.testing.assert_array_equal(found[:5], np.arange(5))
    np.testing.assert_array_equal(found[5:] // 10, np.arange(5))
    drawn = {tuple(pairs(np.arange(4), like, rng)[2:] % 10) for _ in range(200)}
    assert len(drawn) == 9


def test_fewer_and_fewer_images_count_as_like():
    assert [number_at(100, done) for done in (0, 0.25, 0.5, 0.75, 0.999)] == [100, 32, 10, 3, 1]
    assert number_at(1, 0) == number_at(1, 0.9) == 1


def test_the_nearest_are_those_of_each_group(rng):
    images = rng.integers(0, 256, (31, 4, 4, 1), dtype=np.uint8)
    like, same = (
        nearest(images, 3, np.random.default_rng(8), Augmentation()),
        np.random.default_rng(8),
    )
    same.standard_normal((16, COMPONENTS), np.float32)
    rows = images.reshape(31, -1).astype(float)
    distances = ((rows[:, None] - rows) ** 2).sum(axis=2)
    groups = same.permutation(31)[:30].reshape(3, 10)
    for image, found in enumerate(like):
        expected = [group[distances[image][group].argmin()] for group in groups]
        assert sorted(found) == sorted(expected)
        assert (np.diff(distances[image][found]) >= 0).all()


def test_one_neighbour_is_the_image_itself(rng):
    images = rng.integers(0, 256, (600, 4, 4, 3), dtype=np.uint8)
    np.testing.assert_array_equal(nearest(images, 1, rng, Augmentation())[:, 0], np.arange(600))


def test_more_neighbours_than_images_are_all_of_them(rng):
    images = rng.integers(0, 256, (5, 4, 4, 1), dtype=np.uint8)
    np.testing.assert_array_equal(np.sort(nearest(images, 9, rng, Augmentation())), [range(5)] * 5)


def test_what_varies_most_tells_which_are_near(rng):
    """Of 60 kinds of images in 400 dimensions, with noise, the nearest are of the same kind."""
    kinds, kind = rng.integers(0, 256, (60, 20, 20, 1)), np.repeat(np.arange(60), 30)
    images = np.clip(kinds[kind] + 40 * rng.standard_normal((1800, 20, 20, 1)), 0, 255)
    like = nearest(images.astype(np.uint8), 2, rng, Augmentation())
    assert np.mean(kind[like] == kind[:, None]) > 0.99


def test_images_count_as_near_that_are_so_when_they_are_moved(rng, monkeypatch):
    one = np.zeros((20, 7, 7, 1), np.uint8)
    one[:, 1:6, 1:6] = rng.integers(0, 256, (20, 5, 5, 1))
    images = np.concatenate([one, np.roll(one, 1, axis=1)])
    down = np.tile(np.float32([[1, 0, 1], [0, 1, 0]]), (40, 1, 1))  # takes the pixel below
    asked = []
    monkeypatch.setattr(
        consistency, "draw_maps", lambda views, n, rng: asked.append(views) or down[:n]
    )
    like = nearest(images, 2, rng, Augmentation(shift=1.0, rotation=12.0))
    np.testing.assert_array_equal(like[:20, 0], np.arange(20, 40))
    assert asked == [Augmentation(shift=1.0, rotation=36.0)]
