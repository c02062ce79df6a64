"""Arrays that come from outside: their shapes, types and ranges."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tinyinfogan.data.errors import DataError, say

CLASSES = 256  # at most: a table of them, and its picture, grows with the largest label
DARK = 16  # of 255: that no pixel is brighter is told, as it is seldom meant


def is_factor(shape, dtype, count):
    """Return whether that is a list of `count` numbers, a shape."""
    return shape == count and dtype.kind in "biuf"


def check_factor(factor: str, values: np.ndarray, count: int, name: str) -> None:
    """Raise DataError for what is not a list of `count` finite numbers."""
    if not is_factor(values.shape, values.dtype, (count,)):
        found = f"{values.dtype} of shape {values.shape}"
        raise DataError(f"{name}: {factor} is {found}; a factor is a list of {count} numbers")
    if not np.isfinite(values).all():
        raise DataError(f"{name}: {factor} must be finite, found {values[~np.isfinite(values)][0]}")


def check_images(images: ArrayLike, name: str | Path) -> np.ndarray:
    """Return images of any accepted shape, dtype and range as uint8 (N, H, W, C)."""
    try:
        images = np.asarray(images)
    except ValueError:
        raise DataError(f"{name}: images of different shapes, expected them of one") from None
    shape, dtype, problem = images.shape, images.dtype, None
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        problem = f"images have the shape {shape}; expected (N, H, W), (N, H, W, 1) or (N, H, W, 3)"
    elif images.size == 0:
        problem = f"holds no images, its shape is {shape}; give at least one"
    elif dtype.kind not in "buif":
        problem = f"images have the dtype {dtype}; expected uint8 in 0..255 or floats in [0, 1]"
    if problem:
        raise DataError(f"{name}: {problem}")
    black, white = _range_of(images, name)
    if (black, white) == (0, 255) and dtype == np.uint8:
        return np.ascontiguousarray(images)
    result = np.empty(images.shape, np.uint8)
    for image, pixels in zip(images, result):  # one at a time: floats take eight times the memory
        scaled = (image.astype(np.float64) - black) * (255 / (white - black))
        pixels[...] = np.rint(np.clip(scaled, 0, 255))
    return result


def _range_of(images, name):
    """Return the numbers that plainly mean black and white, and say so if there are usual ones.

    Raises DataError, with the range found, if nothing is plain.
    """
    dtype, low, high = images.dtype, images.min(), images.max()
    whole, rounding = dtype.kind != "f", 1e-3  # resizing may overshoot a little
    known, (low, high) = None, (float(low), float(high))
    if not whole and -rounding <= low and high <= 1 + rounding:
        return 0, 1
    if dtype == np.uint8 and (high == 0 or high > DARK):
        return 0, 255
    if whole and low >= 0 and high == 1:
        known = 0, 1
    elif not whole and -1 - rounding <= low <= -0.9 and high <= 1 + rounding:
        known = -1, 1
    elif low >= 0 and (127 < high <= 255 or whole and 1 < high <= 255):
        known = 0, 255
    elif low >= 0 and 16383 < high <= 65535:
        known = 0, 65535
    found = f"images of {dtype} are from {low:.6g} to {high:.6g}"
    if known is None:  # NaN fails all of it
        advice = "make them finite floats in [0, 1], or uint8 in 0..255"
        raise DataError(f"{name}: {found}, which is no known range; {advice}")
    say(f"{name}: {found}; {known[0]} is taken for black and {known[1]} for white")
    return known


def of_masks(images, name):
    """Return uint8 images; of 0 and 1 alone, 1 becomes white."""
    black, white = _range_of(images, name)
    return images if white == 255 else images * np.uint8(255)


def check_labels(labels: np.ndarray, count: int, name: str | Path) -> np.ndarray:
    """Return labels of any integer dtype as int64 (count,)."""
    problem = None
    if labels.dtype.kind not in "iu":
        problem = f"labels have the dtype {labels.dtype}; expected integers"
    elif labels.shape != (count,):
        problem = f"{count} images but labels of shape {labels.shape}; expected one per image"
    elif wrong := [label for label in (labels.min(), labels.max()) if not 0 <= label < CLASSES]:
        problem = f"label {wrong[0]}, expected 0 to {CLASSES - 1}; number classes from 0"
    if problem:
        raise DataError(f"{name}: {problem}")
    return labels.astype(np.int64)
