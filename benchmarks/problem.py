"""What all sides are given: settings, batches drawn once, and the weights they start from."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tinyinfogan import data
from tinyinfogan.infogan import losses
from tinyinfogan.infogan.model import InfoGAN, as_float
from tinyinfogan.infogan.settings import PRESETS as ALL_PRESETS
from tinyinfogan.infogan.variants.step import draws
from tinyinfogan.training.seeds import WEIGHTS, rng_for

# Those on whose networks the sides agree, `benchmarks.networks`.
PRESETS = {
    name: settings
    for name, settings in ALL_PRESETS.items()
    if settings.network == "mnist" and not settings.plain_gan
}
BETAS, EPS = (0.5, 0.999), 1e-8  # of every side's Adam


class Problem(NamedTuple):
    """Settings, uint8 images (n, H, W, C) for some batches of settings.batch_size, a dtype.

    And the device that all sides run on, "cpu" or "cuda".
    """

    settings: object
    images: np.ndarray
    dtype: str = "float32"
    device: str = "cpu"

    @property
    def image_shape(self):
        return self.images.shape[1:]


class Batch(NamedTuple):
    """What one step is given.

    real: (N, H, W, C) in [0, 1].  latents: (N, dim).  maps: what moves the images that D sees, for
    real ones, generated ones and generated ones in G's step: three (N, 2, 3), or three None.
    """

    real: np.ndarray
    latents: np.ndarray
    maps: list


def mnist(preset, batch, dtype="float32", batches=4, device="cpu"):
    """Return the Problem of a preset on MNIST."""
    settings = replace(PRESETS[preset], batch_size=batch)
    return Problem(settings, data.load(None).images[: batch * batches].copy(), dtype, device)


def draw_batches(problem):
    """Return the Batches of a problem, drawn once and handed to every side."""
    N, ours = problem.settings.batch_size, model(problem)
    rng, batches = np.random.default_rng(1), []
    for start in range(0, len(problem.images) - N + 1, N):
        real = as_float(problem.images[start : start + N]).astype(problem.dtype)
        latents, *maps = (array.astype(problem.dtype) for array in draws(ours, N, rng))
        batches.append(Batch(real, latents, maps or [None] * 3))
    return batches


def model(problem):
    """Return our model with the weights that every side starts from."""
    ours = InfoGAN(problem.settings, problem.image_shape, rng_for(0, WEIGHTS))
    for part in (ours.generator, ours.discriminator):
        part.to(dtype=problem.dtype)
    return ours


def joints(settings):
    """Return {code name: P} that a consistency term starts from: one that has something to say."""
    sizes = {code.name: code.size for code in settings.spec.codes if code.size}
    return {name: (np.eye(K) / K + np.full((K, K), K**-2.0)) / 2 for name, K in sizes.items()}


def information_term(settings, information):
    """Return λ L_I, of whatever library {code name: L_I} is."""
    return losses.weighted(settings.spec, information, *settings.lambdas)
