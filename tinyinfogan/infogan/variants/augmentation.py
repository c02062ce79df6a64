"""Small random shifts, turns and zooms of everything that the discriminator sees.

Real and generated images pass through the same random maps, and the gradient passes back through
them to the generator (Zhao et al. 2020, "Differentiable Augmentation", arXiv 2006.10738).  So the
maps do not show in what G learns, and a private pattern between G and Q, which a shift by a pixel
would upset, is no way to tell Q the code.
"""

from typing import NamedTuple

import numpy as np

from tinyinfogan.engine.backend import empty, in_pieces
from tinyinfogan.engine.device import array_module, device_of, to_device
from tinyinfogan.engine.fast.cuda import kernels
from tinyinfogan.engine.tensor import record


class Augmentation(NamedTuple):
    """How far images may be moved: each number is the half-width of a uniform distribution.

    shift: in pixels, for each axis.  rotation: in degrees.  zoom: of the logarithm of the size.
    """

    shift: float = 0.0
    rotation: float = 0.0
    zoom: float = 0.0


def draw_maps(augmentation, n, rng):
    """Draw n affine maps from `rng`, a numpy Generator.  Returns (n, 2, 3) float32, see `warp`."""
    shift, rotation, zoom = augmentation
    angle = np.radians(rng.uniform(-rotation, rotation, n))
    scale = np.exp(rng.uniform(-zoom, zoom, n))
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    row = np.stack([cosine, sine, rng.uniform(-shift, shift, n)], axis=1)
    column = np.stack([-sine, cosine, rng.uniform(-shift, shift, n)], axis=1)
    return np.stack([row, column], axis=1).astype(np.float32)


def warp(images, maps):
    """Move each image by its own affine map, with bilinear interpolation and 0 outside.

    images: Tensor (N, H, W, C).  maps: NumPy array (N, 2, 3): the pixel at (i, j), counted from
    the image's centre, takes its value from (i, j, 1) · mapᵀ.  Returns a Tensor (N, H, W, C).

    y = Σ_k w_k x[at_k] over the four neighbours k of that place, linear in x, so that
    dx[at_k] += w_k g.  Raises ValueError where the maps are not as many as the images.
    """
    N, H, W, C = images.shape
    if maps.shape != (N, 2, 3):
        raise ValueError(f"warp: maps are {maps.shape}, expected {(N, 2, 3)}: one an image")
    xp = array_module(images.data)
    maps = to_device(maps, device_of(images.data))
    if kernels.serve(images.data):
        return _warp_on_gpu(images, maps)
    y, places = empty(images.shape, like=images.data), {}
    row = W + FRAME  # pixels of a framed image from one row to the next

    def some(piece):
        framed = xp.zeros((len(y[piece]), H + FRAME, row, C), images.dtype)
        framed[:, 2:-2, 2:-2] = images.data[piece]
        pixels = framed.reshape(-1, C)
        corner, down, right = places[piece.start] = _places(maps[piece], H, W)
        above, below = (
            _between(pixels[at:].take(corner, axis=0), pixels[at + 1 :].take(corner, axis=0), right)
            for at in (0, row)
        )
        y[piece] = _between(above, below, down)

    def backward(g):
        dx = empty(images.shape, like=g)

        def some(piece):
            corner, down, right = places[piece.start]
            n = len(dx[piece])
            framed = xp.empty((n, H + FRAME, row, C), g.dtype)
            pixels = framed.reshape(-1, C)
            for channel in range(C):
                one = g[piece, ..., channel, None]
                above, below = one * (1 - down), one * down
                parts = {0: above * (1 - right), 1: above * right,
                         row: below * (1 - right), row + 1: below * right}  # fmt: skip
                pixels[:, channel] = sum(
                    xp.bincount((corner + at).ravel(), part.ravel(), len(pixels))
                    for at, part in parts.items()
                )
            dx[piece] = framed[:, 2:-2, 2:-2]

        in_pieces(some, dx)
        return (dx,)

    in_pieces(some, y)
    return record(y, (images,), backward)


FRAME = 4  # zeros around an image, two on each side: places outside it are moved there


def _places(maps, H, W):
    """Return where maps (N, 2, 3) let each pixel take its value from, three arrays.

    corner (N, H, W): the index of the upper left of the four neighbours among the pixels of framed
    images.  down, right (N, H, W, 1): how far from it the place is, from 0 to 1.
    """
    xp = array_module(maps)
    row = (xp.arange(H, dtype=maps.dtype) - (H - 1) / 2)[:, None]
    column = xp.arange(W, dtype=maps.dtype) - (W - 1) / 2
    i, j = (
        (m[:, 0, None, None] * row + (m[:, 2, None, None] + centre)) + m[:, 1, None, None] * column
        for m, centre in ((maps[:, 0], (H - 1) / 2), (maps[:, 1], (W - 1) / 2))
    )
    above, left = xp.floor(i), xp.floor(j)
    down, right = (i - above)[..., None], (j - left)[..., None]
    # In floats, which are faster and exact for images of up to 2^24 pixels.
    corner = (xp.clip(above, -2, H) + 2) * (W + FRAME) + (xp.clip(left, -2, W) + 2)
    first = (H + FRAME) * (W + FRAME) * xp.arange(len(maps))
    return corner.astype(np.int64) + first[:, None, None], down, right


def _between(a, b, share):
    """Return a + share · (b - a), in b's memory."""
    b -= a
    b *= share
    b += a
    return b


def _warp_on_gpu(images, maps):
    def backward(g):
        dx = empty(images.shape, like=g)
        kernels.warp_backward(g, maps, dx)
        return (dx,)

    y = empty(images.shape, like=images.data)
    kernels.warp(images.data, maps, y)
    return record(y, (images,), backward)
