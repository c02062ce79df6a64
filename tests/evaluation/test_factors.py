"""Readings of known factors from codes that are made up, so that the answer is known."""

import numpy as np
import pytest

from tinyinfogan.evaluation.factors import kind_of, read_factors

N = 4000


def read(codes, values, name):
    return read_factors(codes, {name: np.asarray(values)})[name]


def one_hot(numbers, size):
    return np.eye(size)[numbers]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("angle", "angle"),
        ("azimuth", "angle"),
        ("light_azimuth", "angle"),
        ("headRotation", "angle"),
        ("AZIMUTH", "angle"),
        ("angle2", "angle"),
        ("azimuth_deg", "angle"),
        ("orientation (degrees)", "angle"),
        ("elevation", "number"),
        ("triangle", "number"),
        ("angle_error", "number"),
        ("7", "number"),
        ("labels", "category"),
        ("shape", "category"),
        ("hair class", "category"),
    ],
)
def test_the_kind_is_told_from_the_name(name, kind):
    assert kind_of(name, np.arange(5)) == kind


def test_the_kind_that_values_tell():
    assert kind_of("glasses", np.array([True, False])) == "category"
    assert kind_of("labels", np.arange(257)) == "number"


def test_a_number_is_read_from_its_code_alone(rng):
    value = rng.uniform(-40, 90, N)
    codes = {"c0": one_hot(rng.integers(3, size=N), 3), "c1": 0.01 * value - 3, "c2": -(value**2)}
    found = read(codes, value, "elevation")
    assert found["kind"] == "number" and set(found) == {"kind", "all_codes", "codes"}
    assert found["all_codes"] == pytest.approx(1) and found["codes"]["c1"] == pytest.approx(1)
    assert -0.02 < found["codes"]["c0"] < 0.001


def test_r2_is_the_share_of_the_variance_that_is_explained(rng):
    code, noise = rng.normal(size=N), rng.normal(size=N)
    for factor, scale in (("width", 1.0), ("tiny", 1e-200), ("huge", 1e300)):
        found = read({"c0": code}, scale * (3 + 2 * code + noise) / 20, factor)
        assert found["all_codes"] == pytest.approx(0.8, abs=0.02)


def test_only_half_of_the_images_is_fitted_on(rng):
    """Noise with as many numbers as images has: all of the first half is explained."""
    codes = {f"c{k}": rng.normal(size=200) for k in range(100)}
    assert read(codes, rng.normal(size=200), "width")["all_codes"] < 0
    value = rng.normal(size=200)
    spoilt = np.concatenate([value[:100], -value[100:]])
    assert read({"c0": spoilt}, value, "width")["all_codes"] < -2


def test_an_angle_is_read_as_its_sine_and_cosine(rng):
    angle = rng.integers(0, 360, N)
    codes = {"c0": np.sin(np.radians(angle)), "c1": np.cos(np.radians(angle))}
    found = read(codes, angle, "azimuth")
    assert found["all_codes"] == pytest.approx(1)
    assert found["codes"]["c0"] == pytest.approx(0.5, abs=0.03)
    assert found["error_degrees"] == {}
    assert read(codes, angle - 720, "azimuth")["all_codes"] == pytest.approx(1)
    assert read(codes, rng.permutation(angle), "azimuth")["all_codes"] < 0.005
    assert read(codes, angle, "elevation")["all_codes"] < 0.7  # not as a plain number
    narrow = read(codes, rng.uniform(-20, 20, N), "azimuth")
    assert narrow["all_codes"] == pytest.approx(0, abs=0.01)  # about its mean, not about 0


def test_directions_of_categories_by_hand(rng):
    """Four quarters of the circle: the mean distance from the middle of a quarter is 22.5°."""
    angle = rng.uniform(0, 360, N)
    # The first quarter lies about 0, where a mean of degrees would be 180.
    quarter = ((angle + 45) % 360 // 90).astype(int)
    found = read({"c0": one_hot(quarter, 4), "c1": angle}, angle, "angle")
    assert found["error_degrees"] == {"c0": pytest.approx(22.5, abs=0.6)}
    assert found["guess_degrees"] == pytest.approx(90, abs=3)
    # E|mean of a quarter|² = (sin 45° / (π/4))², and the overall mean is 0.
    assert found["codes"]["c0"] == pytest.approx((np.sin(np.pi / 4) / (np.pi / 4)) ** 2, abs=0.01)
    random = read({"c0": one_hot(rng.integers(4, size=N), 4)}, angle, "angle")
    assert random["error_degrees"]["c0"] == pytest.approx(90, abs=4)


def test_probabilities_are_read_but_the_likeliest_category_names_the_direction(rng):
    angle = rng.uniform(-60, 60, N)
    right = 0.5 + angle / 200
    found = read({"c0": np.stack([1 - right, right], axis=1)}, angle, "azimuth")
    assert found["codes"]["c0"] > 0.9
    assert found["error_degrees"]["c0"] == pytest.approx(15, abs=0.5)


def test_categories_are_named(rng):
    shape = rng.integers(3, size=N)
    codes = {
        "c0": one_hot((shape + 1) % 3, 3),
        "c1": np.where(shape == 1, 0.0, shape - 1.0) + rng.uniform(-0.1, 0.1, N),  # 1 in the middle
        "c2": one_hot((shape == 2).astype(int), 2),
        "c3": rng.normal(size=N),
    }
    found = read(codes, shape, "shape")
    assert found["kind"] == "category" and found["all_codes"] == 1
    assert found["codes"]["c0"] == 1 and found["codes"]["c1"] > 0.99
    assert found["codes"]["c2"] == pytest.approx(2 / 3, abs=0.03)
    assert found["codes"]["c3"] == pytest.approx(1 / 3, abs=0.05)
    assert found["guess"] == pytest.approx(1 / 3, abs=0.03)
    unsure = np.stack([0.9 - 0.1 * shape, 0.1 + 0.1 * shape], axis=1)  # always c0=0
    assert read({"c0": unsure}, shape, "shape")["all_codes"] == pytest.approx(1 / 3, abs=0.03)


def test_a_category_that_the_fitted_half_lacks_does_no_harm(rng):
    angle = rng.uniform(-90, 90, 200)
    category = (angle > 0).astype(int)
    category[150:] = 2
    hard = one_hot(category, 3)
    for p in (hard, 0.999 * hard + 0.001 * rng.dirichlet(np.ones(3), 200)):
        found = read({"c0": p}, angle, "azimuth")
        assert 0 < found["codes"]["c0"] < 1
        assert found["error_degrees"]["c0"] < 60


@pytest.mark.parametrize("name", ["angle", "width", "labels"])
@pytest.mark.parametrize("count", [2, 3])
def test_few_images_and_one_value(name, count):
    codes = {"c0": np.eye(2)[np.arange(count) % 2], "c1": np.arange(count, dtype=np.float32)}
    for values in (np.arange(count), np.full(count, 7)):
        found = read(codes, values, name)
        if len(np.unique(values[count // 2 :])) == 1:
            assert found["all_codes"] is None and set(found["codes"].values()) == {None}
        assert np.isfinite(found.get("guess_degrees", 0))
