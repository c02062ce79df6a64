"""The score of a run without labels: answers that are known, and what does not change it."""

import math

import numpy as np
import pytest

from tinyinfogan.data import Dataset
from tinyinfogan.evaluation import views
from tinyinfogan.infogan.latents import LatentSpec
from tinyinfogan.infogan.variants.augmentation import Augmentation

SURE = 60.0  # a logit beside zeros


def one_hot(categories, K):
    return SURE * np.eye(K)[categories]


def test_views_that_agree_on_all_of_k_categories_share_log_k():
    for K in (2, 5, 10):
        logits = one_hot(np.arange(3 * K) % K, K)
        assert views.category_information(logits, logits) == pytest.approx(math.log(K))


def test_categories_that_know_nothing_of_each_other_share_nothing():
    first, second = np.divmod(np.arange(16), 4)
    nats = views.category_information(one_hot(first, 4), one_hot(second, 4))
    assert nats == pytest.approx(0, abs=1e-9)
    same = one_hot(np.zeros(16, int), 4)  # one category for all: they agree, and say nothing
    assert views.category_information(same, same) == pytest.approx(0, abs=1e-9)


def test_no_information_is_not_rounded_to_less(rng):
    for _ in range(100):
        logits = np.tile(rng.standard_normal(10), (30, 1))  # of all images alike
        assert 0 <= views.category_information(logits, logits) < 1e-9


def test_the_order_of_the_views_counts_for_nothing(rng):
    # One view always says the next category: M is a permutation, P has two cells in a row.
    first = one_hot(np.arange(6), 6)
    second = one_hot((np.arange(6) + 1) % 6, 6)
    assert views.category_information(first, second) == pytest.approx(math.log(6 / 2))
    a, b = rng.standard_normal((2, 50, 4))
    assert views.category_information(a, b) == pytest.approx(views.category_information(b, a))


def test_against_sums_over_single_images(rng):
    logits = 2 * rng.standard_normal((2, 30, 3))
    p = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    P = sum(0.5 * (np.outer(u, v) + np.outer(v, u)) for u, v in zip(*p)) / 30
    nats = sum(
        P[c, d] * math.log(P[c, d] / (P[c].sum() * P[:, d].sum()))
        for c in range(3)
        for d in range(3)
    )
    assert views.category_information(*logits) == pytest.approx(nats)


def test_levels_that_correlate_by_rho():
    a = np.array([1.0, 1, -1, -1])[:, None]
    b = np.array([1.0, -1, 1, -1])[:, None]
    for rho in (0.0, 0.5, 0.9):
        both = views.level_information(a, rho * a + math.sqrt(1 - rho**2) * b)
        assert both == pytest.approx(0.5 * math.log(1 / (1 - rho**2)))
    assert str(views.level_information(a, -a)) == "0.0"  # and not -0.0
    assert views.level_information(7 + a, 7 + a) > 9  # the mean is no information
    # Means of a variance of 0.1 know 0.3 of the prior's.
    little = math.sqrt(0.1) * a
    expected = 0.5 * math.log(1 / (1 - 0.3**2))
    assert views.level_information(little, little) == pytest.approx(expected)


class Watched:
    """A model whose Q is any function of the images; it keeps what it was shown."""

    def __init__(self, q, **spec):
        self.q, self.spec, self.seen = q, LatentSpec(**spec), []

    def q_output(self, images):
        assert images.dtype == np.float32 and images.min() >= 0 and images.max() <= 1
        self.seen.append(images)
        return self.q(images)


def squares(rng, n=700):
    """Return images with a square in the middle, n / 2 of them bright: uint8 (n, 12, 12, 1)."""
    images = np.zeros((n, 12, 12, 1), np.uint8)
    images[:, 3:9, 3:9] = rng.permutation(np.arange(n) % 2 * 155 + 100)[:, None, None, None]
    return images


MOVES = Augmentation(2, 10, 0.1)


def bright(images):
    return one_hot((images.max(axis=(1, 2, 3)) > 0.7).astype(int), 2)


def test_what_the_views_leave_is_told_and_what_they_change_is_not(rng):
    images, moves = squares(rng), MOVES
    model = Watched(bright, categorical=(2,), continuous=0)
    nats = views.view_information(model, images, moves, rng)
    assert nats == pytest.approx(math.log(2))
    shown = np.concatenate(model.seen)
    assert len(shown) == 2 * len(images) and len({image.tobytes() for image in shown}) > 1300

    def left(images):  # of the middle: an accident of the view
        columns = images.mean(axis=(1, 3))
        return one_hot((columns[:, :6].sum(axis=1) > columns[:, 6:].sum(axis=1)).astype(int), 2)

    assert views.view_information(Watched(left, categorical=(2,)), images, moves, rng) < 0.02

    def two(images):
        return np.concatenate([bright(images), bright(images), np.ones((len(images), 2))], axis=1)

    nats = views.view_information(Watched(two, categorical=(2, 2)), images, moves, rng)
    assert nats == pytest.approx(2 * math.log(2))


def test_without_categories_the_levels_count(rng):
    def level(images):  # a variance of 1, and a code that is not read
        return np.concatenate([2 * (bright(images)[:, :1] > 0) - 1.0, 0 * images[:, 0, 0]], axis=1)

    model = Watched(level, categorical=(), continuous=2)
    assert views.view_information(model, squares(rng), MOVES, rng) > 9


def test_the_same_rng_gives_the_same_score_and_shows_the_same(rng):
    images = squares(rng, 40)
    models = [Watched(bright, categorical=(2,), continuous=0) for _ in range(3)]
    scores = [
        views.view_information(model, images, MOVES, np.random.default_rng(seed))
        for model, seed in zip(models, (0, 0, 1))
    ]
    first, same, other = (np.concatenate(model.seen) for model in models)
    assert scores[0] == scores[1]
    assert np.array_equal(first, same) and not np.array_equal(first, other)


def test_what_is_held_out_does_not_depend_on_labels(rng):
    images, labels = squares(rng, 20), np.arange(20) % 3
    images[:, 0, 0, 0] = np.arange(20)
    numbers = range(1, 20, 2)
    for known in (labels, rng.permutation(labels), None):
        found = views.held_out(Dataset(images, known))
        assert found[:, 0, 0, 0].tolist() == list(numbers)
        tested = Dataset(images[:4], None if known is None else known[:4], images[4:])
        assert views.held_out(tested)[:, 0, 0, 0].tolist() == list(range(4, 20))
    assert len(views.held_out(Dataset(images), limit=5)) == 5
    assert views.held_out(Dataset(images)).base is None  # not all of the data is kept for it


def test_a_model_as_it_is(rng):
    from tinyinfogan.training import checkpoint

    model, images = checkpoint.load(device="cpu"), rng.random((30, 28, 28, 1), np.float32)
    nats = views.view_information(model, images, MOVES, rng)
    assert 0 <= nats <= math.log(10)
    with pytest.raises(ValueError, match="images are"):
        views.view_information(model, images[:, :20], MOVES, rng)
