"""The networks, as tables close to those in the paper's appendix C (arXiv 1606.03657).

A function per table, with one line per row of it: `fc`, `conv` or `up_conv`.  The paper names batch
norm after the leaky ReLU; the code that its authors released applies it before, and so do we: see
`model.Discriminator`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tinyinfogan.engine import nn
from tinyinfogan.infogan.latents import LatentSpec

Rng = np.random.Generator | None
Shape = tuple[int, int, int]  # H, W, C
Layers = list[nn.Module]

RELU, LRELU = nn.ReLU(), nn.LeakyReLU(0.1)  # appendix C


class Sizes(NamedTuple):
    """How large the networks of a table are to be."""

    channels: int  # of D's first convolution; the other widths are multiples of it
    hidden: int  # units of the fully connected layers, 0 in a network without
    q_outputs: int  # the number of Q's outputs


class Networks(NamedTuple):
    """The parts of an InfoGAN."""

    generator: nn.Module  # latents (N, spec.dim) -> images (N, H, W, C) in [0, 1]
    trunk: nn.Module  # images -> features (N, F)
    d_head: nn.Linear  # features -> one logit (N, 1)
    q_head: nn.Module  # features -> Q's output (N, q_outputs), see `losses.mutual_information`


def fc(inputs: int, outputs: int, activation: nn.Module, rng: Rng, norm: bool = True) -> Layers:
    """Return the layers of a fully connected row, with batch norm or a bias."""
    linear = nn.Linear(inputs, outputs, bias=not norm, rng=rng)
    return [linear, nn.BatchNorm(outputs), activation] if norm else [linear, activation]


def conv(inputs: int, outputs: int, activation: nn.Module, rng: Rng, norm=True, **how) -> Layers:
    """Return the layers of a row with a 4×4 convolution, with batch norm or a bias.

    how: `layer`, if not nn.Conv2d, and its `stride` and `padding`, if not 2 and 1.
    """
    layer, window = how.pop("layer", nn.Conv2d), {"stride": 2, "padding": 1} | how
    convolution = layer(inputs, outputs, 4, **window, bias=not norm, rng=rng)
    return [convolution, nn.BatchNorm(outputs), activation] if norm else [convolution, activation]


def up_conv(*row, **options) -> Layers:
    """Return the layers of an up-convolution's row, as `conv`."""
    return conv(*row, layer=nn.ConvTranspose2d, **options)


def mnist(spec: LatentSpec, image_shape: Shape, sizes: Sizes, rng: Rng, q_hidden=128) -> Networks:
    """Return table 1, MNIST.  The paper has 64 channels and 1024 hidden units, for 28×28×1.

    q_hidden: units of the fully connected row in Q's head, 0 for none.
    """
    (H, W, C), (c, hidden, q_outputs) = image_shape, sizes
    flat = H // 4 * (W // 4) * 2 * c
    generator = nn.Sequential(
        *fc(spec.dim, hidden, RELU, rng),
        *fc(hidden, flat, RELU, rng),
        nn.Reshape(H // 4, W // 4, 2 * c),
        *up_conv(2 * c, c, RELU, rng),
        *up_conv(c, C, nn.Sigmoid(), rng, norm=False),
    )
    trunk = nn.Sequential(
        *conv(C, c, LRELU, rng, norm=False),
        *conv(c, 2 * c, LRELU, rng),
        nn.Reshape(flat),
        *fc(flat, hidden, LRELU, rng),
    )
    d_head = nn.Linear(hidden, 1, rng=rng)
    q_row = fc(hidden, q_hidden, LRELU, rng) if q_hidden else []
    q_head = nn.Sequential(*q_row, nn.Linear(q_hidden or hidden, q_outputs, rng=rng))
    return Networks(generator, trunk, d_head, q_head)


class Family(NamedTuple):
    """A table, and what it can be built for."""

    build: Callable[..., Networks]  # from (spec, image_shape, sizes, rng of the first weights)
    image_shape: Shape  # what it was made for
    multiple: int  # of which heights and widths are, at least two; 0: image_shape and no other
    has_hidden: bool = True
    channel_multiple: int = 1  # of which `channels` is


FAMILIES = {"mnist": Family(mnist, (28, 28, 1), 4)}


def sizes_taken(name: str, image_shape: Shape) -> str | None:
    """Return None if a network takes images (H, W, C), otherwise the sizes that it does take."""
    (H, W, C), (_, made_for, multiple, *_) = image_shape, FAMILIES[name]
    if not multiple:
        H0, W0, C0 = made_for
        return None if (H, W, C) == made_for else f"{H0}×{W0}×{C0} and nothing else"
    if H % multiple or W % multiple or min(H, W) < 2 * multiple or C not in (1, 3):
        sizes = f"multiples of {multiple}, from {2 * multiple} up"
        return f"heights and widths that are {sizes}, and 1 or 3 channels"
    return None
