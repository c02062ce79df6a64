"""The Fréchet distance of Gaussians that are known, and the classifier on real digits."""

import numpy as np
import pytest

from tinyinfogan import data
from tinyinfogan.evaluation import fidelity


def gaussian(rng, mean, root, n=200_000):
    return mean + rng.standard_normal((n, len(mean))) @ root


def test_frechet_distance_of_known_gaussians(rng):
    """|μ_a - μ_b|² + tr(A + B - 2 (A B)^½), which for covariances that commute is Σ (√a - √b)²."""
    a = gaussian(rng, np.array([0.0, 0.0, 1.0]), np.diag([1.0, 2.0, 3.0]))
    b = gaussian(rng, np.array([1.0, 0.0, 3.0]), np.diag([2.0, 2.0, 1.0]))
    assert fidelity.frechet_distance(a, b) == pytest.approx(1 + 4 + 1 + 4, rel=0.02)


def test_frechet_distance_of_covariances_that_do_not_commute(rng):
    """Against the square root of A B itself, from its own eigenvectors."""
    a, b = (gaussian(rng, np.zeros(3), rng.standard_normal((3, 3)), 50) for _ in range(2))
    A, B = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eig(A @ B)
    root = vectors @ np.diag(np.sqrt(values)) @ np.linalg.inv(vectors)
    np.testing.assert_allclose(root @ root, A @ B, atol=1e-9)
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(A + B - 2 * root)
    assert fidelity.frechet_distance(a, b) == pytest.approx(expected)


def test_frechet_distance_is_a_distance(rng):
    a, b = gaussian(rng, np.zeros(4), np.eye(4), 30), gaussian(rng, np.ones(4), np.eye(4), 40)
    there, back = fidelity.frechet_distance(a, b), fidelity.frechet_distance(b, a)
    assert there == pytest.approx(back)
    assert fidelity.frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-9)
    few = a[:3]  # a covariance of rank 2
    assert fidelity.frechet_distance(few, few) == pytest.approx(0, abs=1e-9)
    assert fidelity.frechet_distance(a, a + 2) == pytest.approx(16)


@pytest.fixture(scope="module")
def digits():
    full = data.load()
    return data.Dataset(
        full.images[:3000], full.labels[:3000], full.test_images[:500], full.test_labels[:500]
    )


@pytest.fixture(scope="module")
def classifier(digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("classifier") / fidelity.NAME
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fidelity, "STEPS", 180)  # of 1200, which reach 99 % on all of MNIST
        return fidelity.cached_classifier(path, digits.images, digits.labels), path


def test_the_classifier_learns_and_is_kept(classifier, digits):
    classifier, path = classifier
    _, scores = classifier.read(digits.test_images)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, rtol=1e-5)
    assert np.mean(scores.argmax(axis=1) == digits.test_labels) > 0.85

    def must_not_train(steps):
        raise AssertionError("trained again")

    again = fidelity.cached_classifier(path, digits.images, digits.labels, "cpu", must_not_train)
    np.testing.assert_array_equal(again.read(digits.test_images)[1], scores)


def test_a_damaged_classifier_or_one_of_other_data_is_trained_again(digits, tmp_path, monkeypatch):
    path = tmp_path / fidelity.NAME
    images, labels = digits.images[:100], digits.labels[:100]
    trained = []
    monkeypatch.setattr(fidelity, "STEPS", 3)

    def counted(steps):
        trained.append(len(steps))
        return steps

    fidelity.cached_classifier(path, images, labels, "cpu", counted)
    whole = path.read_bytes()
    for content in (whole[:500], b"", b"nonsense"):
        path.write_bytes(content)
        fidelity.cached_classifier(path, images, labels, "cpu", counted)
        assert path.read_bytes() == whole
    fidelity.cached_classifier(path, images, (labels + 1) % 10, "cpu", counted)
    assert len(trained) == 5


def test_fidelity_of_real_images_and_of_none(classifier, digits):
    """Real images score as a perfect generator would, noise does not, nor a wrong assignment."""
    classifier, _ = classifier
    swap = (np.arange(10) + 3) % 10  # category k is named after class k + 3

    def score(generated, categories, assignment=swap):
        test = digits.test_images, digits.test_labels
        return fidelity.fidelity(
            classifier, generated, categories, assignment, *test, digits.images[:500]
        )

    real = score(digits.images[500:1000], (digits.labels[500:1000] - 3) % 10)
    assert real["agreement"] > 0.85
    assert real["frechet_distance"] < 2 * real["frechet_distance_of_real"]
    assert sum(real["class_shares"]) == pytest.approx(1)
    wrong = score(digits.images[500:1000], digits.labels[500:1000])
    assert wrong["agreement"] < 0.15
    noise = np.random.default_rng(0).random((500, 28, 28, 1), np.float32)
    assert score(noise, digits.labels[:500])["frechet_distance"] > 5 * real["frechet_distance"]
    unnamed = np.where(swap == 3, -1, swap)
    part = score(digits.images[500:1000], (digits.labels[500:1000] - 3) % 10, unnamed)
    assert part["agreement_per_category"][0] is None
    assert score(noise, None, None)["agreement"] is None
