"""InfoGAN: the networks put together, and the trained model in use."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from tinyinfogan.engine import Tensor, nn, no_grad, ops
from tinyinfogan.engine.device import Array, device_of, to_device
from tinyinfogan.infogan.networks import FAMILIES, Rng, Shape, Sizes, sizes_taken
from tinyinfogan.infogan.settings import Settings


class Discriminator(nn.Module):
    """D and Q on one trunk: images (N, H, W, C) -> logits (N,), Q's output (N, ·).

    trunk, d_head, q_head: see `networks.Networks`.  For Q's output see
    `losses.mutual_information`.  q_detached: whether Q only watches, so that no gradient of its
    output reaches the trunk or the images: a plain GAN whose information can be measured.

    The paper's tables name each batch norm after its leaky ReLU; the code that the authors released
    applies it before, and so do we.  After, it would be the last thing before the linear D head,
    and as real and generated batches are normalised apart, the logits of both would have the same
    mean, whatever D does: measured, D's loss stays at 2 log 2 and nothing is learnt.
    """

    def __init__(self, trunk: nn.Module, d_head: nn.Linear, q_head: nn.Module, q_detached=False):
        self.trunk, self.d_head, self.q_head = trunk, d_head, q_head
        self.q_detached = q_detached

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(images)
        logits = ops.reshape(self.d_head(features), (images.shape[0],))
        return logits, self.q_head(features.detach() if self.q_detached else features)


class Encoding(NamedTuple):
    """The predicted codes of N images.

    probabilities: one array (N, K) per categorical code.
    means, standard_deviations: arrays (N, number of continuous codes).
    """

    probabilities: list[np.ndarray]
    means: np.ndarray
    standard_deviations: np.ndarray


class InfoGAN(nn.Module):
    """G and D-with-Q together, trained or to be trained.

    rng: numpy Generator of the first weights.  Raises ValueError if the networks cannot take images
    of image_shape, (H, W, C).
    """

    def __init__(self, settings: Settings, image_shape: Shape, rng: Rng = None):
        self.check(settings, image_shape)
        self.settings, self.spec, self.image_shape = settings, settings.spec, tuple(image_shape)
        log_sigmas = self.spec.continuous if settings.q_sigma == "learnt" else 0
        sizes = Sizes(settings.channels, settings.hidden, self.spec.code_dim + log_sigmas)
        networks = FAMILIES[settings.network].build(self.spec, self.image_shape, sizes, rng)
        self.generator, *parts = networks
        self.discriminator = Discriminator(*parts, q_detached=settings.plain_gan)

    @staticmethod
    def check(settings: Settings, image_shape: Shape) -> None:
        """Raise ValueError if `settings` or their networks are not for images (H, W, C)."""
        (H, W, C), taken = image_shape, sizes_taken(settings.network, image_shape)
        if taken:
            misfit = f"images of {H}×{W}×{C} do not fit preset {settings.preset}"
            raise ValueError(f"{misfit}: its networks take {taken}; resize or pad the images")
        if settings.shift > min(H, W) / 2:
            raise ValueError(f"shift is {settings.shift}, expected at most half of {H}×{W}")

    @property
    def device(self) -> str:
        """Where the model is, "cpu" or "cuda"."""
        return device_of(self.parameters()[0].data)

    def generate(self, n: int = 1, codes: dict | None = None, rng: Rng = None) -> np.ndarray:
        """Return n generated images, an array (n, H, W, C) of float32 in [0, 1].

        codes: {code name: value, or n values}, categories 0 ... K-1 of a categorical code and
            numbers, -1 to 1 in training, of a continuous one; codes not named are drawn.
        rng: numpy Generator for what is drawn, a fresh one by default.

        Raises ValueError for an unknown code or a category out of range.
        """
        latents = self.spec.sample(n, np.random.default_rng() if rng is None else rng)
        for name, values in (codes or {}).items():
            self.spec.set_code(latents, name, values)
        return self.decode(latents)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Return G(latents), batch norm with running statistics: (N, dim) -> (N, H, W, C)."""
        return self._in_batches(self.generator, latents)

    def encode(self, images) -> Encoding:
        """Return the codes that Q predicts for images, see `q_output`."""
        output, probabilities, start = self.q_output(images), [], 0
        for size in self.spec.categorical:
            logits = Tensor(output[:, start : start + size])
            probabilities.append(ops.softmax(logits).numpy())
            start += size
        means, log_sigmas = np.split(output[:, start:], [self.spec.continuous], axis=1)
        deviations = np.exp(log_sigmas) if log_sigmas.size else np.ones_like(means)
        return Encoding(probabilities, means, deviations)

    def predict(self, images) -> np.ndarray:
        """Return the most probable category of c0 per image, (N,) int64, see `q_output`.

        Raises ValueError if the model has no categorical code.
        """
        if not self.spec.categorical:
            raise ValueError("there is no category to predict: all codes are continuous")
        return self.encode(images).probabilities[0].argmax(axis=1)

    def q_output(self, images) -> np.ndarray:
        """Return Q's output for images, (N, ·), see `losses.mutual_information`.

        images: (N, H, W, C), floats in [0, 1] or uint8.  Batch norm takes its running statistics,
        so an image's codes do not depend on the others.  Raises ValueError for no images, and for
        images of another shape, type or range.
        """
        images = images if hasattr(images, "shape") else np.asarray(images)
        if images.shape[1:] != self.image_shape:
            raise ValueError(
                f"images are {images.shape[1:]}, this model takes {self.image_shape} (H, W, C)"
            )
        if images.dtype != np.uint8 and len(images):
            low, high = images.min(), images.max()
            if images.dtype.kind != "f" or not (low >= 0 and high <= 1):
                found = f"{images.dtype} from {low} to {high}"
                raise ValueError(f"images are {found}, expected floats from 0 to 1, or uint8")
        return self._in_batches(lambda batch: self.discriminator(batch)[1], images)

    def _in_batches(self, network: Callable[[Tensor], Tensor], inputs, size=500) -> np.ndarray:
        """Return the outputs of `network` in use.  Raises ValueError if there are no inputs."""
        if not len(inputs):
            raise ValueError("0 examples, expected 1 or more")
        outputs = []
        with in_use(self):
            for start in range(0, len(inputs), size):
                batch = to_device(as_float(inputs[start : start + size]), self.device)
                outputs.append(network(Tensor(batch)).numpy())
        return np.concatenate(outputs)


_one_at_a_time = threading.RLock()


@contextlib.contextmanager
def in_use(model: nn.Module) -> Iterator[None]:
    """Inside, a model is in evaluation mode and nothing is recorded.

    Batch norms have one mode for all threads, so these take turns.
    """
    with _one_at_a_time, no_grad():
        modes = {part: part.training for _, part in model.named_modules()}
        try:
            model.eval()
            yield
        finally:
            for part, mode in modes.items():
                part.training = mode


def as_float(images: Array) -> Array:
    """Return uint8 images scaled to float32 in [0, 1]; floating ones as float32."""
    floats = images.astype(np.float32, copy=False)
    return floats / 255 if images.dtype == np.uint8 else floats
