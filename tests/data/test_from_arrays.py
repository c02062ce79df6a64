"""Arrays of the caller's own as a data set."""

import numpy as np
import pytest

import tinyinfogan
from tinyinfogan.data import DataError, Dataset, from_arrays, load

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 1), (2, 3, 4, 3)])
def test_uint8(shape):
    images = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    dataset = from_arrays(images, np.array([1, 0], np.int16), name="mine")
    assert isinstance(dataset, Dataset) and dataset.name == "mine"
    np.testing.assert_array_equal(dataset.images, images.reshape(2, 3, 4, -1))
    assert dataset.images.dtype == np.uint8 and dataset.images.flags.c_contiguous
    assert dataset.labels.dtype == np.int64 and dataset.labels.tolist() == [1, 0]
    assert dataset.test_images is dataset.test_labels is dataset.factors is None


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_round_to_the_nearest_of_256_levels(dtype):
    levels = np.arange(256).reshape(1, 16, 16)
    dataset = from_arrays((levels / 255).astype(dtype))
    np.testing.assert_array_equal(dataset.images[..., 0], levels)
    assert dataset.labels is None and dataset.name == "arrays"


def test_lists_are_arrays():
    dataset = from_arrays([[[0.0, 1.0]], [[0.5, 0.25]]], [3, 4])
    assert dataset.images[..., 0].tolist() == [[[0, 255]], [[128, 64]]]
    assert dataset.labels.tolist() == [3, 4]


def test_factors_are_kept_under_their_names():
    factors = {"azimuth": [-10.5, 3], "bald": np.array([True, False])}
    dataset = from_arrays(IMAGES, factors=factors)
    assert {name: values.tolist() for name, values in dataset.factors.items()} == {
        "azimuth": [-10.5, 3.0],
        "bald": [True, False],
    }
    assert from_arrays(IMAGES, factors={}).factors is None


@pytest.mark.parametrize(
    "values, expected",
    [
        ([1, 2, 3], "azimuth is int64 of shape (3,); a factor is a list of 2 numbers"),
        ([[1], [2]], "shape (2, 1)"),
        (7, "shape ()"),
        (["left", "right"], "azimuth is <U5"),
        ([1j, 2], "complex128"),
        ([0.0, np.nan], "azimuth must be finite, found nan"),
        ([-np.inf, 0], "found -inf"),
    ],
)
def test_factors_that_are_refused(values, expected):
    with pytest.raises(DataError) as caught:
        from_arrays(IMAGES, name="mine", factors={"azimuth": values})
    message = str(caught.value)
    assert message.startswith("mine: ") and expected in message and "\n" not in message


@pytest.mark.parametrize(
    "images, labels, expected",
    [
        (np.zeros((3, 4), np.uint8), None, "shape (3, 4)"),
        (np.zeros((2, 3, 4, 2), np.uint8), None, "(2, 3, 4, 2)"),
        (np.zeros((0, 3, 4), np.uint8), None, "holds no images"),
        (np.full((2, 3, 4), 300.0), None, "from 300 to 300"),
        (np.array([[[0.5, np.nan]]]), None, "finite"),
        (np.zeros((2, 3, 4), np.int64), None, "int64"),
        (IMAGES, np.array([0, 1, 2]), "2 images but labels of shape (3,)"),
        (IMAGES, np.array([0, -1]), "label -1"),
        (IMAGES, np.array([0, 256]), "label 256, expected 0 to 255"),
        (IMAGES, np.array([0.0, 1.0]), "float64"),
    ],
)
def test_what_is_refused(images, labels, expected):
    with pytest.raises(DataError) as caught:
        from_arrays(images, labels, name="mine")
    message = str(caught.value)
    assert message.startswith("mine: ") and expected in message and "\n" not in message


# --- ranges ---------------------------------------------------------------------------------------

LEVELS = np.arange(256).reshape(1, 16, 16)
MASK = np.eye(8, dtype=np.uint8)[None]


@pytest.mark.parametrize(
    "images, expected, said",
    [
        (MASK, 255 * MASK, "images of uint8 are from 0 to 1; 0 is taken for black and 1 for white"),
        (MASK.astype(bool), 255 * MASK, "images of bool"),
        (MASK.astype(np.int64), 255 * MASK, "images of int64"),
        (MASK.astype(float), 255 * MASK, ""),
        (LEVELS.astype(np.int32), LEVELS, "255 for white"),
        (LEVELS.astype(np.float32), LEVELS, "images of float32 are from 0 to 255"),
        (LEVELS.astype(np.float16), LEVELS, "255 for white"),
        ((LEVELS / 127.5 - 1).astype(np.float32), LEVELS, "-1 is taken for black and 1 for white"),
        ((LEVELS * 257).astype(np.uint16), LEVELS, "65535 for white"),
        ((LEVELS * 257).astype(np.float64), LEVELS, "65535 for white"),
        (LEVELS.astype(np.uint16), LEVELS, "255 for white"),
        (LEVELS / 255 * 1.0000002, LEVELS, ""),
        (LEVELS.astype(np.uint8), LEVELS, ""),
        (LEVELS[:, :1].astype(np.uint8), LEVELS[:, :1], "from 0 to 15"),
    ],
)
def test_what_ranges_plainly_mean(images, expected, said, capsys):
    dataset = from_arrays(images)
    np.testing.assert_array_equal(dataset.images[..., 0], expected)
    line = capsys.readouterr().err
    assert said in line and bool(said) == bool(line) and line.count("\n") == bool(said)


@pytest.mark.parametrize(
    "images, found",
    [
        (np.linspace(-0.42, 2.8, 64), "from -0.42 to 2.8"),  # mean 0 and deviation 1
        (np.linspace(-0.5, 0.5, 64), "from -0.5 to 0.5"),
        (np.linspace(0, 16, 64), "from 0 to 16"),
        (np.linspace(0, 1.5, 64), "from 0 to 1.5"),
        (np.arange(-64, 64, 2, np.int8), "images of int8 are from -64 to 62"),
        (np.arange(64, dtype=np.uint16) * 65, "from 0 to 4095"),
        (np.arange(64) * 2000, "from 0 to 126000"),
        (np.full(64, np.nan), "from nan to nan"),
        (np.r_[np.zeros(63), np.inf], "to inf"),
    ],
)
def test_ranges_that_are_not_plain_are_refused_with_what_was_found(images, found):
    with pytest.raises(DataError) as caught:
        from_arrays(images.reshape(1, 8, 8))
    assert found in str(caught.value) and "floats in [0, 1], or uint8 in 0..255" in str(
        caught.value
    )


def test_a_model_reads_masks_and_images_without_a_channel():
    model, images = tinyinfogan.load(device="cpu"), load().test_images[:50]
    masks = (images > 127).astype(np.uint8)
    expected = model.predict(255 * masks)
    for shown in (masks, masks[..., 0], masks.astype(np.float32)):
        np.testing.assert_array_equal(model.predict(shown), expected)
