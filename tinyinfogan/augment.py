"""Small random shifts, turns and zooms of everything that the discriminator sees.

Real and generated images pass through the same random maps, and the gradient passes back through
them to the generator (Zhao et al. 2020, "Differentiable Augmentation", arXiv 2006.10738).  So the
maps do not show in what G learns, and a private pattern between G and Q, which a shift by a pixel
would upset, is no way to tell Q the code.
"""

from typing import NamedTuple

import numpy as np

from tinyinfogan.engine import kernels
from tinyinfogan.engine.backend import array_module, device_of, empty, in_pieces, to_device
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
    dx[at_k] += w_k g.
    """
    N, H, W, C = images.shape
    xp = array_module(images.data)
    maps = to_device(maps, device_of(images.data))
    if kernels.serve(images.data):
        return _warp_on_gpu(images, maps)
    y, neighbours = empty(images.shape, like=images.data), {}

    def some(piece):
        framed = xp.zeros((len(y[piece]), H + 2, W + 2, C), images.dtype)
        framed[:, 1:-1, 1:-1] = images.data[piece]
        pixels = framed.reshape(-1, C)
        own = neighbours[piece.start] = list(_neighbours(maps[piece], H, W))
        y[piece] = sum(weight[..., None] * pixels[at] for at, weight in own)

    def backward(g):
        dx = empty(images.shape, like=g)

        def some(piece):
            own = neighbours[piece.start]
            at = xp.concatenate([at.ravel() for at, _ in own])
            n = len(dx[piece])
            for channel in range(C):
                one = g[piece, ..., channel]
                parts = xp.concatenate([(weight * one).ravel() for _, weight in own])
                framed = xp.bincount(at, parts, minlength=n * (H + 2) * (W + 2))
                dx[piece, ..., channel] = framed.reshape(n, H + 2, W + 2)[:, 1:-1, 1:-1]

        in_pieces(some, dx)
        return (dx,)

    in_pieces(some, y)
    return record(y, (images,), backward)


def _neighbours(maps, H, W):
    """Yield, for each of the four neighbours of the places that maps (N, 2, 3) name, its index
    among the pixels of framed images and its weight, arrays (N, H, W).

    Each image has a frame of zeros, one pixel wide: neighbours outside are clipped to it and need
    no mask.
    """
    xp = array_module(maps)
    row = (xp.arange(H, dtype=maps.dtype) - (H - 1) / 2)[:, None]
    column = xp.arange(W, dtype=maps.dtype) - (W - 1) / 2
    i, j = (
        m[:, 0, None, None] * row + m[:, 1, None, None] * column + m[:, 2, None, None] + centre
        for m, centre in ((maps[:, 0], (H - 1) / 2), (maps[:, 1], (W - 1) / 2))
    )
    above, left = xp.floor(i), xp.floor(j)
    down, right = i - above, j - left
    first = ((H + 2) * (W + 2) * xp.arange(len(maps)))[:, None, None]
    for di, vertical in ((0, 1 - down), (1, down)):
        for dj, horizontal in ((0, 1 - right), (1, right)):
            r = xp.clip(above + di, -1, H).astype(np.int64) + 1
            c = xp.clip(left + dj, -1, W).astype(np.int64) + 1
            yield first + r * (W + 2) + c, vertical * horizontal


def _warp_on_gpu(images, maps):
    def backward(g):
        dx = empty(images.shape, like=g)
        kernels.warp_backward(g, maps, dx)
        return (dx,)

    y = empty(images.shape, like=images.data)
    kernels.warp(images.data, maps, y)
    return record(y, (images,), backward)
