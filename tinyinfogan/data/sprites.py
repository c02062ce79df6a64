"""Sprites: white shapes on black, drawn from five independent factors of variation.

The grid of factors is that of dSprites (Matthey et al. 2017, https://github.com/google-deepmind/
dsprites-dataset): 3 shapes x 6 scales x 40 orientations x 32 x 32 positions, 737,280 images of
64x64.  The drawing is our own: 40 different orientations (theirs are from 0 to 2π, both included),
antialiased edges, one area for all shapes of a scale.  A square looks the same after 10
orientations and an ellipse after 20, as there.
"""

import functools
import math

import numpy as np

NAMES = ("shape", "scale", "orientation", "x", "y")
SHAPES = ("square", "ellipse", "heart")
SIZES = (len(SHAPES), 6, 40, 32, 32)  # values of each factor, numbered from 0
IMAGE_SIZE = 64
PATCH_SIZE = IMAGE_SIZE // 2  # holds every shape in every orientation; positions are 1 pixel apart
LARGEST_AREA = 18.0**2  # square pixels, of every shape at the largest scale
SMALLEST_SCALE = 0.5  # lengths, relative to the largest scale


def render(factors: np.ndarray) -> np.ndarray:
    """Return the images of `factors`, uint8 (N, 64, 64, 1), 0 outside the shape and 255 inside.

    factors: integers (N, 5), one row per image, columns as in NAMES, each from 0 to SIZES - 1;
    orientation turns anticlockwise, x goes to the right and y down.
    Raises ValueError for other shapes, types and values.
    """
    factors = np.asarray(factors)
    if factors.ndim != 2 or factors.shape[1] != len(SIZES) or factors.dtype.kind not in "iu":
        found = f"factors are {factors.dtype} {factors.shape}"
        raise ValueError(f"{found}, expected integers (N, {len(SIZES)})")
    for name, size, values in zip(NAMES, SIZES, factors.T):
        if len(values) and not (0 <= values.min() and values.max() < size):
            found = f"{name} is from {values.min()} to {values.max()}"
            raise ValueError(f"{found}, expected 0 to {size - 1}")
    shape, scale, orientation, x, y = factors.T
    images = np.zeros((len(factors), IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(
        images, (PATCH_SIZE, PATCH_SIZE), axis=(1, 2), writeable=True
    )  # (N, 33, 33, 32, 32): the patch at each position
    windows[np.arange(len(factors)), y, x] = _patches()[shape, scale, orientation]
    return images[..., None]


def draw(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the factors of `count` different images, drawn uniformly, int64 (count, 5)."""
    chosen = rng.choice(math.prod(SIZES), count, replace=False)
    return np.stack(np.unravel_index(chosen, SIZES), axis=1)


@functools.cache
def _patches():
    """Return every shape, scale and orientation in the middle of a patch, uint8 (3, 6, 40, 32, 32).

    A pixel is as bright as the share of it that the shape covers, taken as 1/2 - d, cut to [0, 1],
    where d is the signed distance of its centre from the edge in pixels, negative inside.
    """
    scales = np.linspace(SMALLEST_SCALE, 1, SIZES[1])[:, None, None, None]
    angles = np.arange(SIZES[2])[:, None, None] * (2 * np.pi / SIZES[2])
    right = np.arange(PATCH_SIZE) - (PATCH_SIZE - 1) / 2
    up = -right[:, None]  # row 0 is the top
    # Turning the shape anticlockwise is turning the pixels clockwise.
    u = np.cos(angles) * right + np.sin(angles) * up  # (40, 32, 32)
    v = np.cos(angles) * up - np.sin(angles) * right
    side = scales * math.sqrt(LARGEST_AREA)

    # Signed distances from the edges of three shapes with the area side²; exact near the edge,
    # corners aside, which is where they matter.
    square = np.maximum(abs(u), abs(v)) - side / 2
    # Twice as wide as high.  To first order: f / |grad f|, f = the length of (u/a, v/b) less 1.
    a, b = 2 * side / math.sqrt(2 * math.pi), side / math.sqrt(2 * math.pi)
    length = np.hypot(u / a, v / b)
    ellipse = (length - 1) * length / np.hypot(u / a**2, v / b**2)
    # A square that stands on its corner, with half a disc on each of its two upper sides.
    half = side / math.sqrt(4 + math.pi)  # of the square's side, and the discs' radius
    v = v + (1 - 1 / math.sqrt(2)) / 2 * half  # puts the middle of its height at 0
    p, q = (v + u) / math.sqrt(2), (v - u) / math.sqrt(2)
    discs = np.minimum(np.hypot(p - half, q), np.hypot(p, q - half)) - half
    heart = np.minimum(np.maximum(abs(p), abs(q)) - half, discs)

    distances = np.stack([square, ellipse, heart])
    return np.rint(255 * np.clip(0.5 - distances, 0, 1)).astype(np.uint8)
