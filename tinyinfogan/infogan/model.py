"""InfoGAN: the networks put together, and the trained model in use."""

import contextlib
import threading
from typing import NamedTuple

import numpy as np

from tinyinfogan.engine import Tensor, nn, no_grad, ops
from tinyinfogan.engine.device import device_of, to_device
from tinyinfogan.infogan.networks import FAMILIES, sizes_taken


class Discriminator(nn.Module):
    """D and Q on one trunk: images (N, H, W, C) -> logits (N,), Q's output (N, ·).

    trunk, d_head, q_head: see `networks.Networks`.  For Q's output see
    `losses.mutual_information`.  q_apart: whether Q only watches, so that no gradient of what it
    reads reaches the trunk or the images: a plain GAN whose information can be measured.

    The paper's tables name each batch norm after its leaky ReLU; the code that the authors released
    applies it before, and so do we.  After, it would be the last thing before the linear D head,
    and as real and generated batches are normalised apart, the logits of both would have the same
    mean, whatever D does: measured, D's loss stays at 2 log 2 and nothing is learnt.
    """

    def __init__(self, trunk, d_head, q_head, q_apart=False):
        self.trunk, self.d_head, self.q_head = trunk, d_head, q_head
        self.q_apart = q_apart

    def forward(self, images):
        features = self.trunk(images)
        logits = ops.reshape(self.d_head(features), (images.shape[0],))
        return logits, self.q_head(features.detach() if self.q_apart else features)


class Encoding(NamedTuple):
    """What Q reads in N images.

    probabilities: one array (N, K) for each categorical code.
    means, standard_deviations: arrays (N, number of continuous codes).
    """

    probabilities: list
    means: np.ndarray
    standard_deviations: np.ndarray


class InfoGAN:
    """G and D-with-Q together, trained or to be trained.

    settings: a `presets.Settings`.  image_shape: (H, W, C).  rng: numpy Generator of the first
    weights.  Raises ValueError where the networks cannot take such images.
    """

    def __init__(self, settings, image_shape, rng=None):
        self.check(settings, image_shape)
        self.settings, self.image_shape = settings, tuple(image_shape)
        self.spec = settings.spec
        log_sigmas = self.spec.continuous if settings.q_sigma == "learnt" else 0
        networks = FAMILIES[settings.network].build(
            self.spec, self.image_shape, settings.channels, settings.hidden,
            self.spec.code_dim + log_sigmas, rng,
        )  # fmt: skip
        self.generator = networks.generator
        self.discriminator = Discriminator(
            networks.trunk, networks.d_head, networks.q_head, q_apart=settings.plain_gan
        )

    @property
    def device(self):
        """Where the model is, "cpu" or "cuda"."""
        return device_of(self.discriminator.d_head.weight.data)

    @staticmethod
    def check(settings, image_shape):
        """Raise ValueError where `settings` or their networks are not for images (H, W, C)."""
        H, W, C = image_shape
        taken = sizes_taken(settings.network, image_shape)
        if taken:
            raise ValueError(
                f"images of {H}×{W}×{C} do not fit preset {settings.preset}: its networks take "
                f"{taken}; resize or pad the images"
            )
        if settings.shift > min(H, W) / 2:
            raise ValueError(f"shift is {settings.shift}, expected at most half of {H}×{W}")

    def to(self, device):
        """Move both networks to "cpu" or "cuda".  Returns the model."""
        self.generator.to(device)
        self.discriminator.to(device)
        return self

    def state_dict(self):
        """Return {dotted name: array} of both networks (not copies)."""
        parts = (("generator", self.generator), ("discriminator", self.discriminator))
        return {f"{a}.{b}": array for a, part in parts for b, array in part.state_dict().items()}

    def load_state_dict(self, state):
        """Copy arrays as state_dict returns them into both networks.

        Raises ValueError where names or shapes are not the same.
        """
        for name, part in (("generator", self.generator), ("discriminator", self.discriminator)):
            head = f"{name}."
            part.load_state_dict(
                {key[len(head) :]: array for key, array in state.items() if key.startswith(head)}
            )

    def generate(self, n=1, codes=None, rng=None):
        """Return n generated images, a NumPy array (n, H, W, C) of float32 in [0, 1].

        codes: {code name: value, or n values}, categories 0 ... K-1 of a categorical code and
            numbers, -1 to 1 in training, of a continuous one; codes not named are drawn.
        rng: numpy Generator for what is drawn, a fresh one by default.

        Raises ValueError for an unknown code or a category out of range.
        """
        rng = np.random.default_rng() if rng is None else rng
        latents = self.spec.sample(n, rng)
        for name, values in (codes or {}).items():
            self.spec.set_code(latents, name, values)
        return self.decode(latents)

    def decode(self, latents):
        """Return G(latents), batch norm with running statistics: (N, dim) -> (N, H, W, C)."""
        return np.concatenate(self._in_batches(self.generator, latents))

    def encode(self, images):
        """Return what Q reads in images, (N, H, W, C) in [0, 1] or uint8, as an Encoding.

        Batch norm takes its running statistics, so an image's codes do not depend on the others.
        Raises ValueError for images of another shape, type or range.
        """
        images = images if hasattr(images, "shape") else np.asarray(images)
        if images.shape[1:] != self.image_shape:
            raise ValueError(
                f"images are {images.shape[1:]}, this model takes {self.image_shape} (H, W, C)"
            )
        if images.dtype != np.uint8 and len(images):
            low, high = images.min(), images.max()
            if images.dtype.kind != "f" or not (low >= 0 and high <= 1):
                raise ValueError(f"images are {images.dtype} from {low} to {high}, expected floats "
                                 "from 0 to 1, or uint8")  # fmt: skip

        def read(batch):
            return self.discriminator(batch)[1]

        output = np.concatenate(self._in_batches(read, images))
        probabilities, start = [], 0
        for size in self.spec.categorical:
            logits = Tensor(output[:, start : start + size])
            probabilities.append(ops.softmax(logits).numpy())
            start += size
        means = output[:, start : start + self.spec.continuous]
        log_sigmas = output[:, start + self.spec.continuous :]
        deviations = np.exp(log_sigmas) if log_sigmas.size else np.ones_like(means)
        return Encoding(probabilities, means, deviations)

    def _in_batches(self, network, inputs, size=500):
        """Return the outputs of `network` in evaluation mode, a list of NumPy arrays.

        Raises ValueError where there are no inputs.
        """
        if not len(inputs):
            raise ValueError("0 examples, expected 1 or more")
        outputs = []
        with _in_use(self.generator, self.discriminator):
            for start in range(0, len(inputs), size):
                batch = to_device(as_float(inputs[start : start + size]), self.device)
                outputs.append(network(Tensor(batch)).numpy())
        return outputs


_one_at_a_time = threading.RLock()


@contextlib.contextmanager
def _in_use(*networks):
    """Inside, networks are in evaluation mode and nothing is recorded.

    Batch norms have one mode for all threads, so these take turns.
    """
    with _one_at_a_time, no_grad():
        parts = [part for network in networks for _, part in network.named_modules()]
        modes = [part.training for part in parts]
        try:
            for network in networks:
                network.eval()
            yield
        finally:
            for part, mode in zip(parts, modes):
                part.training = mode


def describe(model):
    """Return the tables of a model's networks as text: layers, output shapes and parameters."""
    G, D = model.generator, model.discriminator
    row = "{:<36}{:<14}{:>12}".format
    lines = [row("", "output", "parameters")]

    def size(part):
        return sum(parameter.data.size for parameter in part.parameters())

    def table(title, part, x):
        """Append the table of one part; return what comes out of it."""
        lines.extend(["", row(title, _by(x.shape[1:]), "")])
        for layer in part.modules:
            x = layer(x)
            count = f"{size(layer):,}" if layer.parameters() else ""
            lines.append(row(f"  {_label(layer)}", _by(x.shape[1:]), count))
        lines.append(row("  all", "", f"{size(part):,}"))
        return x

    with _in_use(G, D):
        images = table("G", G, Tensor(np.zeros((1, model.spec.dim), np.float32)))
        features = table("D and Q: the trunk", D.trunk, images)
        table("D: the head", nn.Sequential(D.d_head), features)
        table("Q: the head", D.q_head, features)
    lines.extend(["", row("all networks", "", f"{size(G) + size(D):,}")])
    return "\n".join(line.rstrip() for line in lines)


def _by(shape):
    """Return a shape as text, "28×28×1"."""
    return "×".join(map(str, shape))


def _label(layer):
    """Return a layer's name and, where it has a kernel, the kernel's size and the stride."""
    name = type(layer).__name__
    if not isinstance(layer, nn.Conv2d):
        return name
    KH, KW, *_ = layer.weight.shape
    return f"{name} {KH}×{KW}" + (f" stride {layer.stride}" if layer.stride > 1 else "")


def as_float(images):
    """Return uint8 images scaled to float32 in [0, 1]; floating ones as float32."""
    floats = images.astype(np.float32, copy=False)
    return floats / 255 if images.dtype == np.uint8 else floats
