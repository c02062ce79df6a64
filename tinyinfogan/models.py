"""The networks, as tables like those in the paper's appendix, and the trained model in use."""

from typing import NamedTuple

import numpy as np

from tinyinfogan.engine import Tensor, backend, nn, no_grad, ops

SLOPE = 0.1  # of every leaky ReLU, appendix C.1


def generator(spec, image_shape, channels, hidden, rng):
    """Return G: latent vectors (N, spec.dim) -> images (N, H, W, C) in [0, 1] (table 1, right).

    channels: of the inner image; twice as many in the one before.  hidden: units of the first
    layer.  The paper's MNIST network has 64 and 1024.  rng: numpy Generator of the first weights.
    """
    H, W, C = image_shape
    h, w = H // 4, W // 4
    return nn.Sequential(
        nn.Linear(spec.dim, hidden, bias=False, rng=rng), nn.BatchNorm(hidden), nn.ReLU(),
        nn.Linear(hidden, h * w * 2 * channels, bias=False, rng=rng),
        nn.BatchNorm(h * w * 2 * channels), nn.ReLU(),
        nn.Reshape(h, w, 2 * channels),
        nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1, bias=False, rng=rng),
        nn.BatchNorm(channels), nn.ReLU(),
        nn.ConvTranspose2d(channels, C, 4, stride=2, padding=1, rng=rng), nn.Sigmoid(),
    )  # fmt: skip


class Discriminator(nn.Module):
    """D and Q on one trunk: images (N, H, W, C) -> logits (N,), Q's output (N, ·) (table 1).

    channels: of the first convolution; twice as many in the second.  hidden: units of the trunk's
    last layer.  The paper's MNIST network has 64 and 1024.  For Q's output see
    `losses.mutual_information`; q_sigma: "fixed" at 1, or "learnt".

    Table 1 names each batch norm after its leaky ReLU; the code that the authors released applies
    it before, and so do we.  After, it would be the last thing before the linear D head, and as
    real and generated batches are normalised apart, the logits of both would have the same mean,
    whatever D does: measured, D's loss stays at 2 log 2 and nothing is learnt.
    """

    def __init__(self, spec, image_shape, channels, hidden, q_sigma, rng):
        H, W, C = image_shape
        features = (H // 4) * (W // 4) * 2 * channels
        outputs = spec.code_dim + (spec.continuous if q_sigma == "learnt" else 0)
        self.trunk = nn.Sequential(
            nn.Conv2d(C, channels, 4, stride=2, padding=1, rng=rng), nn.LeakyReLU(SLOPE),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1, bias=False, rng=rng),
            nn.BatchNorm(2 * channels), nn.LeakyReLU(SLOPE),
            nn.Reshape(features),
            nn.Linear(features, hidden, bias=False, rng=rng),
            nn.BatchNorm(hidden), nn.LeakyReLU(SLOPE),
        )  # fmt: skip
        self.d_head = nn.Linear(hidden, 1, rng=rng)
        self.q_head = nn.Sequential(
            nn.Linear(hidden, 128, bias=False, rng=rng), nn.BatchNorm(128), nn.LeakyReLU(SLOPE),
            nn.Linear(128, outputs, rng=rng),
        )  # fmt: skip

    def forward(self, images):
        features = self.trunk(images)
        logits = ops.reshape(self.d_head(features), (images.shape[0],))
        return logits, self.q_head(features)


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
        sizes = settings.channels, settings.hidden
        self.generator = generator(self.spec, image_shape, *sizes, rng)
        self.discriminator = Discriminator(self.spec, image_shape, *sizes, settings.q_sigma, rng)

    @property
    def device(self):
        """Where the model is, "cpu" or "cuda"."""
        return backend.device_of(self.discriminator.d_head.weight.data)

    @staticmethod
    def check(settings, image_shape):
        """Raise ValueError where the networks of `settings` cannot take images (H, W, C)."""
        H, W, C = image_shape
        if H % 4 or W % 4 or min(H, W) < 8 or C not in (1, 3):
            raise ValueError(
                f"images of {H}×{W}×{C} do not fit preset {settings.preset}: its networks take "
                "heights and widths that are multiples of 4, from 8 up, and 1 or 3 channels; "
                "resize or pad the images"
            )

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
        Raises ValueError for images of another shape.
        """
        if images.shape[1:] != self.image_shape:
            raise ValueError(
                f"images are {images.shape[1:]}, this model takes {self.image_shape} (H, W, C)"
            )

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
        """Return the outputs of `network` in evaluation mode, a list of NumPy arrays."""
        self.generator.eval()
        self.discriminator.eval()
        outputs = []
        with no_grad():
            for start in range(0, len(inputs), size):
                batch = backend.to_device(as_float(inputs[start : start + size]), self.device)
                outputs.append(network(Tensor(batch)).numpy())
        self.generator.train()
        self.discriminator.train()
        return outputs


def as_float(images):
    """Return uint8 images scaled to float32 in [0, 1]; floating ones as float32."""
    floats = images.astype(np.float32, copy=False)
    return floats / 255 if images.dtype == np.uint8 else floats
