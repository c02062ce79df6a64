"""Latent vectors: their layout, and that codes follow the distributions the docs promise."""

import numpy as np
import pytest

from tinyinfogan import LatentSpec


def test_the_paper_s_mnist_latents_have_74_columns():
    spec = LatentSpec()
    assert spec.dim == 62 + 10 + 2
    assert [code.name for code in spec.codes] == ["c0", "c1", "c2"]
    assert [code.size for code in spec.codes] == [10, None, None]
    assert spec.codes[0].entropy == pytest.approx(np.log(10))


@pytest.mark.parametrize("sizes", [(3, (4, 2), 1), (0, (), 3), (5, (3,), 0)])
def test_sample(sizes, rng):
    spec, n = LatentSpec(*sizes), 20_000
    latents = spec.sample(n, rng)
    assert latents.shape == (n, spec.dim)
    assert latents.dtype == np.float32
    for column in latents[:, : spec.noise].T:
        _assert_uniform(column)
    codes = latents[:, spec.noise :]
    for code in spec.codes:
        columns = codes[:, code.columns]
        if code.size is None:
            _assert_uniform(columns[:, 0])
        else:
            assert set(np.unique(columns)) == {0, 1}
            np.testing.assert_array_equal(columns.sum(axis=1), 1)
            np.testing.assert_allclose(columns.mean(axis=0), 1 / code.size, atol=0.02)
    # Independent columns: the largest correlation between codes of different kinds is noise.
    correlation = np.corrcoef(latents.T) - np.eye(spec.dim)
    for code in spec.codes:
        inside = slice(spec.noise + code.columns.start, spec.noise + code.columns.stop)
        correlation[inside, inside] = 0
    assert np.abs(correlation).max() < 0.05


def _assert_uniform(values):
    assert -1 <= values.min() < -0.99
    assert 0.99 < values.max() <= 1
    counts = np.histogram(values, 10, (-1, 1))[0] / len(values)
    np.testing.assert_allclose(counts, 0.1, atol=0.02)


def test_the_same_generator_draws_the_same():
    a, b = (LatentSpec().sample(5, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_set_code(rng):
    spec = LatentSpec(2, (3,), 1)
    latents = spec.sample(4, rng)
    before = latents.copy()
    spec.set_code(latents, "c0", [0, 1, 2, 0])
    spec.set_code(latents, "c1", -2.0)
    np.testing.assert_array_equal(latents[:, 2:5], np.eye(3)[[0, 1, 2, 0]])
    np.testing.assert_array_equal(latents[:, 5], -2)
    np.testing.assert_array_equal(latents[:, :2], before[:, :2])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("c9", 0, "c0, c1"),
        ("c0", 3, "0 to 2"),
        ("c0", -1, "0 to 2"),
        ("c0", 0.5, "0 to 2"),
        ("c0", "a", "c0 is 'a', expected a number, or 4 of them"),
        ("c1", [1, 2], "or 4 of them"),
        ("c1", np.inf, "expected finite numbers"),
        ("c1", None, "expected finite numbers"),
        ("c1", 1e39, r"c1 is 1e\+39, expected finite numbers"),
        ("c0", [0, 1, 2, 7], "c0 is 7, expected categories"),
    ],
)
def test_set_code_refuses(name, value, message, rng):
    spec = LatentSpec(2, (3,), 1)
    with pytest.raises(ValueError, match=message):
        spec.set_code(spec.sample(4, rng), name, value)


@pytest.mark.parametrize(
    "sizes",
    [
        *((-1, (10,), 2), (2, (1,), 0), (2, (), -1), (5, (), 0)),
        *((1.5, (10,), 2), (62.0, (10,), 2), (62, (2.5,), 2), (62, (10,), 2.0), (62, (10,), None)),
    ],
)
def test_sizes_that_cannot_be(sizes):
    with pytest.raises(ValueError, match="expected|at least one code"):
        LatentSpec(*sizes)


def test_a_number_of_codes_that_nobody_means_is_refused_at_once():
    message = "continuous is 1000000000, expected a whole number, 0 to 1,000"
    with pytest.raises(ValueError, match=message):
        LatentSpec(continuous=10**9)
