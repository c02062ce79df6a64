"""The sides of a comparison: the same training step, ours and others', on the same arrays."""

import time
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from benchmarks import common
from tinyinfogan import data, train
from tinyinfogan.engine import optim
from tinyinfogan.engine.device import to_device, to_host
from tinyinfogan.engine.fast.cuda import graph
from tinyinfogan.infogan import losses
from tinyinfogan.infogan.model import InfoGAN, as_float
from tinyinfogan.infogan.settings import PRESETS as ALL_PRESETS
from tinyinfogan.infogan.step import train_step
from tinyinfogan.infogan.variants.augmentation import draw_maps

# Those on whose networks the sides agree, `benchmarks.networks`.
PRESETS = {name: s for name, s in ALL_PRESETS.items()
           if s.network == "mnist" and not s.plain_gan}
BETAS, EPS = (0.5, 0.999), 1e-8  # of every side's Adam

TITLES = {
    "ours": "ours",
    "pytorch": "PyTorch eager",
    "compile": "torch.compile",
    "jax": "JAX jit",
    "graphs": "PyTorch CUDA graphs",
}
# The ways in which a side may be run; the fastest takes part.
_PYTORCH = [
    {"layout": layout, "adam": adam}
    for layout in ("NCHW", "channels_last")
    for adam in ("foreach", "fused")
]
_VARIANTS = {
    "ours": [{}],
    "pytorch": _PYTORCH,
    "compile": [{"layout": layout, "adam": "fused"} for layout in ("NCHW", "channels_last")],
    "jax": [{"convolution": "lax"}, {"convolution": "patches"}],
}
_ON_GPU = {
    "ours": [{"how": "CUDA graph"}, {"how": "kernel by kernel"}],
    "pytorch": _PYTORCH,
    "compile": _VARIANTS["compile"],
    "graphs": _PYTORCH,
}
VARIANTS = {"cpu": _VARIANTS, "cuda": _ON_GPU}


def title(side, variant):
    """Return the words for a side in one of its variants."""
    return " ".join([TITLES[side], *variant.values()])


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

    ways = {"compile": in_pytorch.start_compiled, "graphs": in_pytorch.start_graphed}
    return ways.get(side, in_pytorch.start)


def _start_ours(problem, batches, how="kernel by kernel"):
    settings, ours = problem.settings, model(problem).to(problem.device)
    d_adam = optim.Adam(ours.discriminator.parameters(), settings.d_lr, BETAS, EPS)
    g_adam = optim.Adam(ours.generator.parameters(), settings.g_lr, BETAS, EPS)
    arrays = [[to_device(array, problem.device)
               for array in (real, latents, *maps) if array is not None]
              for real, latents, maps in batches]  # fmt: skip

    def one(real, *drawn):
        values = train_step(ours, d_adam, g_adam, real, iter(drawn))
        return {name: value for name, value in values.items() if not name.endswith("_norm")}

    if how == "CUDA graph":
        one = graph.replayed(one, (d_adam, g_adam))

    def state():
        return {name: to_host(array) for name, array in ours.state_dict().items()}

    return lambda index: one(*arrays[index]), state


def gpu_milliseconds(side, work):
    """Return how long the GPU takes for what work() starts, by events of the side's library."""
    if side == "ours":
        import cupy

        start, end = cupy.cuda.Event(), cupy.cuda.Event()
    else:
        import torch

        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    work()
    end.record()
    end.synchronize()
    return cupy.cuda.get_elapsed_time(start, end) if side == "ours" else start.elapsed_time(end)


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
        values = {name: value.item() for name, value in advance().items()}
        for _ in range(steps - 1):
            advance()
        return values, {name: np.array(array) for name, array in state().items()}

    def timed(steps):
        """The median (on a GPU the mean) of some steps in ms; one more goes before."""
        advance()
        if problem.device == "cuda":  # one step after another, without waiting, as in training
            return gpu_milliseconds(side, lambda: [advance() for _ in range(steps)]) / steps
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
