"""Small random shifts, turns and zooms of everything that the discriminator sees.

Real and generated images pass through the same random maps, and the gradient passes back through
them to the generator (Zhao et al. 2020, "Differentiable Augmentation", arXiv 2006.10738).  So the
maps do not show in what G learns, and a private pattern between G and Q, which a shift by a pixel
would upset, is no way to tell Q the code.
"""

from typing import NamedTuple

import numpy as np

from tinyinfogan.engine import primitives
from tinyinfogan.engine.device import device_of, to_device
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
    x, maps = images.data, to_device(maps, device_of(images.data))
    return record(primitives.warp(x, maps), (images,), lambda g: (primitives.warp_grad(g, maps),))
