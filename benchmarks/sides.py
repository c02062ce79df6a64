"""The sides of a comparison: the same training step, ours and others', on the same arrays."""

import time
from dataclasses import astuple, replace
from typing import NamedTuple
from unittest import mock

import numpy as np

from benchmarks import common
from tinyinfogan import data, losses, train
from tinyinfogan.augment import draw_maps
from tinyinfogan.engine import optim
from tinyinfogan.latents import LatentSpec
from tinyinfogan.models import InfoGAN, as_float
from tinyinfogan.presets import PRESETS as ALL_PRESETS

# Those on whose networks the sides agree, `benchmarks.networks`.
PRESETS = {name: s for name, s in ALL_PRESETS.items() if s.network == "mnist"}
BETAS, EPS = (0.5, 0.999), 1e-8  # of every side's Adam

TITLES = {
    "ours": "ours",
    "pytorch": "PyTorch eager",
    "compile": "torch.compile",
    "jax": "JAX jit",
}
# The ways in which a side may be run; the fastest takes part.
VARIANTS = {
    "ours": [{}],
    "pytorch": [
        {"layout": layout, "adam": adam}
        for layout in ("NCHW", "channels_last")
        for adam in ("foreach", "fused")
    ],
    "compile": [{"layout": layout, "adam": "fused"} for layout in ("NCHW", "channels_last")],
    "jax": [{"convolution": "lax"}, {"convolution": "patches"}],
}


def title(side, variant):
    """Return the words for a side in one of its variants."""
    return " ".join([TITLES[side], *variant.values()])


class Problem(NamedTuple):
    """Settings, uint8 images (n, H, W, C) for some batches of settings.batch_size, and a dtype."""

    settings: object
    images: np.ndarray
    dtype: str = "float32"

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


def mnist(preset, batch, dtype="float32", batches=4):
    """Return the Problem of a preset on MNIST."""
    settings = replace(PRESETS[preset], batch_size=batch)
    return Problem(settings, data.load(None).images[: batch * batches].copy(), dtype)


def draw_batches(problem):
    """Return the Batches of a problem, drawn once and handed to every side."""
    settings, N = problem.settings, problem.settings.batch_size
    rng, batches = np.random.default_rng(1), []
    for start in range(0, len(problem.images) - N + 1, N):
        real = as_float(problem.images[start : start + N]).astype(problem.dtype)
        latents = settings.spec.sample(N, rng).astype(problem.dtype)
        maps = [None] * 3
        if any(settings.augmentation):
            maps = [draw_maps(settings.augmentation, N, rng).astype(problem.dtype) for _ in maps]
        batches.append(Batch(real, latents, maps))
    return batches


def model(problem):
    """Return our model with the weights that every side starts from."""
    rng = train.generator_for(0, train.WEIGHTS)
    ours = InfoGAN(problem.settings, problem.image_shape, rng)
    for part in (ours.generator, ours.discriminator):
        part.to(dtype=problem.dtype)
    return ours


def information_term(settings, information):
    """Return λ L_I, of whatever library {code name: L_I} is."""
    weights = settings.lambda_categorical, settings.lambda_continuous
    return losses.weighted(settings.spec, information, *weights)


def loader(side):
    """Import what a side needs and return its `start(problem, batches, **variant)`.

    start returns (step, state): step(index) makes one training step on one of the batches and
    returns {"d_loss", "g_loss", code name: L_I}; state() returns {name: array} of all weights and
    running statistics, with our names and layouts.
    """
    if side == "ours":
        return _start_ours
    if side == "jax":
        from benchmarks import in_jax

        return in_jax.start
    from benchmarks import in_pytorch

    return in_pytorch.start_compiled if side == "compile" else in_pytorch.start


class Handed(LatentSpec):
    """A LatentSpec that draws nothing: it takes latents from an iterator."""

    def sample(self, n, rng):
        return next(rng)


def _start_ours(problem, batches):
    settings, ours = problem.settings, model(problem)
    ours.spec = Handed(*astuple(ours.spec))
    d_adam = optim.Adam(ours.discriminator.parameters(), settings.d_lr, BETAS, EPS)
    g_adam = optim.Adam(ours.generator.parameters(), settings.g_lr, BETAS, EPS)

    def step(index):
        real, latents, maps = batches[index]
        handed = iter([latents, *maps])
        with mock.patch.object(train, "draw_maps", lambda augmentation, n, rng: next(rng)):
            return train.train_step(ours, d_adam, g_adam, real, handed)

    return step, ours.state_dict


# --- in a worker ----------------------------------------------------------------------------------


def prepare(side, variant, problem):
    """Start a side in a worker.  Returns handle("agree" or "time", number of steps)."""
    batches = draw_batches(problem)
    step, state = loader(side)(problem, batches, **variant)
    taken = 0

    def advance():
        nonlocal taken
        values = step(taken % len(batches))
        taken += 1
        return values

    def agree(steps):
        """(Losses of the first step, state after all steps)."""
        values = {name: float(value) for name, value in advance().items()}
        for _ in range(steps - 1):
            advance()
        return values, {name: np.array(array) for name, array in state().items()}

    def timed(steps):
        """The median of some steps in ms; one more goes before, for caches and threads."""
        advance()
        return float(np.median([common.milliseconds(advance) for _ in range(steps)]))

    return lambda request, steps: {"agree": agree, "time": timed}[request](steps)


def peak_memory(side, variant, problem, steps):
    """To be run in a worker: returns a handle() with what `steps` steps take, in bytes.

    total: the most memory the process ever had.  training: that, less what it had when everything
    was imported and the data was ready.
    """
    start, batches = loader(side), draw_batches(problem)
    time.sleep(0.1)
    before, _ = common.memory()
    step, _ = start(problem, batches, **variant)
    for index in range(steps):
        step(index % len(batches))
    total = common.memory()[1]
    return lambda: {"total": total, "training": total - before}
