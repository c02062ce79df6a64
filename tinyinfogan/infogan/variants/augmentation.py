"""Small random shifts, turns and zooms of everything that the discriminator sees.

Real and generated images pass through the same random maps, and the gradient passes back through
them to G (Zhao et al. 2020, "Differentiable Augmentation", arXiv 2006.10738).  So the maps do not
show in what G learns, and a pattern that a shift upsets is no way to tell Q the code.
"""

import copy
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tinyinfogan.engine import Tensor, nn, primitives
from tinyinfogan.engine.device import Array, device_of, to_device
from tinyinfogan.engine.tensor import record
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.settings import Settings


class Augmentation(NamedTuple):
    """How far images may be moved: each number is the half-width of a uniform distribution."""

    shift: float = 0.0  # in pixels, for each axis
    rotation: float = 0.0  # in degrees
    zoom: float = 0.0  # of the logarithm of the size


def augmentation_of(settings: Settings) -> Augmentation:
    """Return the Augmentation that settings ask for."""
    return Augmentation(settings.shift, settings.rotation, settings.zoom)


def draw_maps(augmentation: Augmentation, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n affine maps drawn from `rng`, (n, 2, 3) float32, see `warp`."""
    shift, rotation, zoom = augmentation
    angle = np.radians(rng.uniform(-rotation, rotation, n))
    scale = np.exp(rng.uniform(-zoom, zoom, n))
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    row = np.stack([cosine, sine, rng.uniform(-shift, shift, n)], axis=1)
    column = np.stack([-sine, cosine, rng.uniform(-shift, shift, n)], axis=1)
    return np.stack([row, column], axis=1).astype(np.float32)


def warp(images: Tensor, maps: Array) -> Tensor:
    """Return images (N, H, W, C), each moved by its own affine map: bilinear, and 0 outside.

    maps: (N, 2, 3): the pixel at (i, j), counted from the image's centre, takes its value from
    (i, j, 1) · mapᵀ.

    y = Σ_k w_k x[at_k] over the four neighbours k of that place, so that dx[at_k] += w_k g.
    """
    x, maps = images.data, to_device(maps, device_of(images.data))
    return record(primitives.warp(x, maps), (images,), lambda g: (primitives.warp_grad(g, maps),))


class Augmented(nn.Module):
    """A discriminator that sees each batch of images moved, by the next of `maps`."""

    def __init__(self, discriminator: nn.Module, maps: Iterable[Array]):
        self.discriminator, self._maps = discriminator, iter(maps)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.discriminator(warp(images, next(self._maps)))


def augmented(model: InfoGAN, maps: Iterable[Array]) -> InfoGAN:
    """Return the model with an `Augmented` discriminator; its networks are the same, not copies."""
    seen = copy.copy(model)
    seen.discriminator = Augmented(model.discriminator, maps)  # type: ignore[assignment]
    return seen
