"""InfoGAN: the networks put together, and the trained model in use."""

import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tinyinfogan.engine import Tensor, nn, no_grad, ops
from tinyinfogan.engine.device import Array, device_of, to_device
from tinyinfogan.infogan.networks import FAMILIES, Plan, Rng, Shape, sizes_taken
from tinyinfogan.infogan.settings import Settings


class Encoding(NamedTuple):
    """The predicted codes of N images."""

    probabilities: list[np.ndarray]  # one array (N, K) per categorical code
    means: np.ndarray  # (N, number of continuous codes)
    standard_deviations: np.ndarray


class InfoGAN(nn.Module):
    """G and D-with-Q together, trained or to be trained; rng draws the first weights.

    Raises ValueError if the networks cannot take images of image_shape, (H, W, C).
    """

    def __init__(self, settings: Settings, image_shape: Shape, rng: Rng = None):
        self.check(settings, image_shape)
        self.settings, self.spec, self.image_shape = settings, settings.spec, tuple(image_shape)
        q_outputs = self.spec.code_dim + (settings.q_sigma == "learnt") * self.spec.continuous
        sizes = settings.channels, settings.hidden, q_outputs
        plan = Plan(self.spec, self.image_shape, *sizes, rng)
        self.generator, self.discriminator = FAMILIES[settings.network].build(plan)
        self.discriminator.q_detached = settings.plain_gan

    @staticmethod
    def check(settings: Settings, image_shape: Shape) -> None:
        """Raise ValueError if `settings` or their networks are not for images (H, W, C)."""
        H, W, C = image_shape
        if taken := sizes_taken(settings.network, image_shape):
            misfit = f"images of {H}×{W}×{C} do not fit preset {settings.preset}"
            raise ValueError(f"{misfit}: its networks take {taken}; resize or pad the images")
        if settings.shift > min(H, W) / 2:
            raise ValueError(f"shift is {settings.shift}, expected at most half of {H}×{W}")

    @property
    def device(self) -> str:
        """Where the model is, "cpu" or "cuda"."""
        return device_of(self.parameters()[0].data)

    def generate(self, n: int = 1, codes: dict | None = None, rng: Rng = None) -> np.ndarray:
        """Return n generated images, (n, H, W, C) float32 in [0, 1].

        codes: {code name: value, or n values}, categories 0 ... K-1 or, of a continuous code,
        numbers, -1 to 1 in training.  The rest is drawn from rng.  Raises ValueError as `set_code`.
        """
        if not isinstance(codes, dict | None):
            raise ValueError(f"codes is {codes!r}, expected a dict, such as {{'c0': 3}}")
        latents = self.spec.sample(n, np.random.default_rng(rng))
        for name, values in (codes or {}).items():
            self.spec.set_code(latents, name, values)
        return self.decode(latents)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Return G(latents), batch norm with running statistics: (N, dim) -> (N, H, W, C)."""
        return self._in_batches(self.generator, latents)

    def encode(self, images: Array) -> Encoding:
        """Return the codes that Q predicts for images, see `q_output`."""
        parts = np.cumsum([*self.spec.categorical, self.spec.continuous])
        *logits, means, log_sigmas = np.split(self.q_output(images), parts, axis=1)
        deviations = np.exp(log_sigmas) if log_sigmas.size else np.ones_like(means)
        return Encoding([ops.softmax(part).numpy() for part in logits], means, deviations)

    def predict(self, images: Array) -> np.ndarray:
        """Return each image's most probable category of c0, (N,) int64.  See `q_output`.

        Raises ValueError if the model has no categorical code.
        """
        if not self.spec.categorical:
            raise ValueError("there is no category to predict: all codes are continuous")
        return self.encode(images).probabilities[0].argmax(axis=1)

    def q_output(self, images: Array) -> np.ndarray:
        """Return Q's output for images, (N, ·), see `losses.mutual_information`.

        images: (N, H, W, C), or (N, H, W) if grey; floats in [0, 1], or uint8, also of 0 and 1.
        Batch norm takes its running statistics.  Raises ValueError for other shapes and ranges.
        """
        images = images if hasattr(images, "shape") else np.asarray(images)
        images = images[..., None] if (*images.shape[1:], 1) == self.image_shape else images
        if images.shape[1:] != self.image_shape:
            raise ValueError(f"images are {images.shape[1:]}, this model takes {self.image_shape}")
        low, high = (images.min(), images.max()) if len(images) else (0, 0)
        found, whole = f"images are {images.dtype} from {low} to {high}", images.dtype == np.uint8
        if not (whole or images.dtype.kind == "f" and low >= 0 and high <= 1):
            raise ValueError(f"{found}, expected floats from 0 to 1, or uint8")
        images = images * np.uint8(255) if whole and high == 1 else images
        return self._in_batches(lambda batch: self.discriminator(batch)[1], images)

    def _in_batches(self, network: Callable[[Tensor], Tensor], inputs, size=500) -> np.ndarray:
        """Return what `network`, a part of the model, makes of inputs in evaluation mode."""
        if not len(inputs):
            raise ValueError("0 examples, expected 1 or more")
        with _one_at_a_time, no_grad():
            modes = {part: part.training for _, part in self.named_modules()}
            try:
                self.eval()
                batches = (as_float(inputs[at : at + size]) for at in range(0, len(inputs), size))
                run = (network(Tensor(to_device(batch, self.device))) for batch in batches)
                return np.concatenate([output.numpy() for output in run])
            finally:
                for part, mode in modes.items():
                    part.training = mode


_one_at_a_time = threading.RLock()  # batch norms have one mode for all threads


def as_float(images: Array) -> Array:
    """Return uint8 images scaled to float32 in [0, 1]; floating ones as float32."""
    floats = images.astype(np.float32, copy=False)
    return floats / 255 if images.dtype == np.uint8 else floats
