"""The clusterer: scikit-learn's own checks of an estimator, and what it is for."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import tinyinfogan
from tinyinfogan import data
from tinyinfogan.cluster import InfoGANClusterer

SMALL = {"channels": 2, "hidden": 4, "noise": 2, "neighbours": 1, "lambda_consistency": 0.0}
SMALL |= {"batch_size": 2, "shift": 0.0, "rotation": 0.0, "zoom": 0.0}
QUICK = InfoGANClusterer(3, steps=2, settings=SMALL, device="cpu")
NOT_FOR_IT = {
    "check_clustering": "two steps on columns that are no pixels find no clusters",
    "check_methods_sample_order_invariance": "rounding of float32 in batches of 500",
    "check_methods_subset_invariance": "rounding of float32 in batches of 500",
}


@parametrize_with_checks([QUICK], expected_failed_checks=lambda estimator: NOT_FOR_IT)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture
def digits():
    return data.load().test_images[:60].reshape(60, 784) / 255


def test_as_scikit_learns_clusterers_are_used(digits):
    clusterer = clone(QUICK).set_params(n_clusters=4)
    labels = clusterer.fit_predict(digits)
    assert labels.shape == (60,) and set(labels) <= set(range(4))
    np.testing.assert_array_equal(labels, clusterer.labels_)
    np.testing.assert_array_equal(labels, clusterer.predict(digits))
    codes = clusterer.transform(digits)
    assert codes.shape == (60, 6)
    np.testing.assert_allclose(codes[:, :4].sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(codes[:, :4].argmax(axis=1), labels)
    names = ["c0=0", "c0=1", "c0=2", "c0=3", "c1", "c2"]
    assert clusterer.get_feature_names_out().tolist() == names
    model = tinyinfogan.fit(
        digits.reshape(-1, 28, 28), steps=2, device="cpu", categorical=(4,), **SMALL
    )
    np.testing.assert_array_equal(model.predict(digits.reshape(-1, 28, 28).astype("f4")), labels)
    again = make_pipeline(MinMaxScaler(), clone(clusterer)).fit_predict(digits)
    assert again.shape == (60,)


def test_images_have_the_shape_that_is_given():
    X = np.random.default_rng(0).random((6, 8 * 12 * 3))
    fitted = clone(QUICK).set_params(image_shape=(8, 12, 3)).fit(X)
    assert fitted.model_.image_shape == (8, 12, 3)
    assert fitted.model_.generate(2).shape == (2, 8, 12, 3)
    with pytest.raises(
        ValueError, match=r"X has 288 columns, expected 96 for image_shape \(8, 12\)"
    ):
        clone(QUICK).set_params(image_shape=(8, 12)).fit(X)


def test_any_range_is_black_to_white():
    X = np.random.default_rng(0).random((6, 64))
    labels = clone(QUICK).fit(255 * X - 100).transform(255 * X - 100)
    scaled = (X - X.min()) / (X.max() - X.min())
    np.testing.assert_allclose(labels, clone(QUICK).fit(scaled).transform(scaled), rtol=1e-4)
